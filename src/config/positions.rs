//! The line of each key in a YAML text. serde_yaml reads the values and keeps no positions;
//! saphyr-parser reads the same text for the lines alone. The tests hold the two together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

use crate::config::settings::paths;

/// The keys and list items of a YAML text, each with its line (from 1).
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// The mappings and lists; the root is the first.
    nodes: Vec<Vec<Child>>,
}

/// A key of a mapping or an item of a list.
#[derive(Debug)]
struct Child {
    /// Items are named as by [`paths::item`].
    name: String,
    line: usize,
    /// The place of its value in `nodes`; [`SCALAR`] for a scalar. An alias has the node of its anchor.
    node: usize,
}

/// In place of the node of a value that has no children.
const SCALAR: usize = usize::MAX;

impl Positions {
    /// Reads a text that is valid YAML. Of any other it has the keys up to the first mistake.
    pub(super) fn of(yaml: &str) -> Self {
        let mut collector = Collector::default();
        for event in Parser::new_from_str(yaml) {
            let Ok((event, span)) = event else { break };
            if let Event::DocumentEnd = event {
                break;
            }
            collector.event(event, span.start.line());
        }
        Self { nodes: collector.nodes }
    }

    /// The line of the key with this path, or else of the nearest key around it; 1 for the root.
    pub(super) fn find<S: AsRef<str>>(&self, path: &[S]) -> usize {
        let mut found = (1, 0);
        for name in path {
            let Some(child) = self.child(found.1, name.as_ref()) else { break };
            found = (child.line, child.node);
        }
        found.0
    }

    /// The child of this name, or the one that a merge key (`<<`) brings in.
    fn child(&self, node: usize, name: &str) -> Option<&Child> {
        let children = self.nodes.get(node)?;
        children.iter().find(|child| child.name == name).or_else(|| {
            let merged = children.iter().find(|child| child.name == "<<")?;
            let in_list =
                || self.nodes.get(merged.node)?.iter().find_map(|item| self.own(item, name));
            self.own(merged, name).or_else(in_list)
        })
    }

    fn own(&self, parent: &Child, name: &str) -> Option<&Child> {
        self.nodes.get(parent.node)?.iter().find(|child| child.name == name)
    }
}

/// The state of [`Positions::of`].
#[derive(Default)]
struct Collector {
    nodes: Vec<Vec<Child>>,
    /// The mappings and lists that have not ended yet.
    open: Vec<Collection>,
    anchors: BTreeMap<usize, (usize, Option<String>)>,
}

enum Collection {
    /// A mapping, and its key whose value comes next.
    Mapping {
        node: usize,
        key: Option<Key>,
    },
    List {
        node: usize,
    },
}

struct Key {
    /// `None` where the key is itself a mapping or a list.
    name: Option<String>,
    line: usize,
}

impl Collector {
    fn event(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Scalar(text, _, anchor, tag) => {
                // A key with a tag of its own is no text for serde_yaml.
                let is_text = tag.is_none_or(|tag| tag.is_yaml_core_schema());
                let text = is_text.then_some(text);
                self.anchor(anchor, SCALAR, text.as_deref());
                self.value(SCALAR, text, line);
            }
            Event::Alias(anchor) => {
                let (node, text) = self.anchors.get(&anchor).cloned().unwrap_or((SCALAR, None));
                self.value(node, text.map(Cow::Owned), line);
            }
            Event::MappingStart(anchor, _) => {
                let node = self.collection(anchor, line);
                self.open.push(Collection::Mapping { node, key: None });
            }
            Event::SequenceStart(anchor, _) => {
                let node = self.collection(anchor, line);
                self.open.push(Collection::List { node });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            _ => {}
        }
    }

    fn collection(&mut self, anchor: usize, line: usize) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Vec::new());
        self.anchor(anchor, node, None);
        self.value(node, None, line);
        node
    }

    /// 0 is no anchor.
    fn anchor(&mut self, anchor: usize, node: usize, text: Option<&str>) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node, text.map(str::to_owned)));
        }
    }

    /// Takes a node as the next key, value or item of the innermost collection.
    fn value(&mut self, node: usize, text: Option<Cow<'_, str>>, line: usize) {
        let (parent, name, line) = match self.open.last_mut() {
            None => return,
            Some(Collection::List { node: parent }) => {
                let place = self.nodes.get(*parent).map_or(0, Vec::len);
                (*parent, Some(paths::item(place)), line)
            }
            Some(Collection::Mapping { node: parent, key }) => match key.take() {
                None => {
                    *key = Some(Key { name: text.map(Cow::into_owned), line });
                    return;
                }
                Some(Key { name, line }) => (*parent, name, line),
            },
        };
        if let (Some(name), Some(children)) = (name, self.nodes.get_mut(parent)) {
            children.push(Child { name, line, node });
        }
    }
}

#[cfg(test)]
mod tests;
