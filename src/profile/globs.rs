//! A list of globs, such as `*/Norder*/*`: which of them matches a text first. `*` matches any characters
//! and `?` matches one.
//!
//! One scan of the text finds the literals that it contains. Only the globs whose rarest literal is among
//! them are compared, and those without a literal: the cost of a request does not grow with the others.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use wildmatch::WildMatch;

/// Globs in their order, compiled once. Copies share the compiled form.
#[derive(Debug, Clone, Default)]
pub struct Globs(Arc<Compiled>);

#[derive(Debug, Default)]
struct Compiled {
    globs: Vec<WildMatch>,
    /// Finds the literals; `None` if each glob is compared with each text.
    literals: Option<AhoCorasick>,
    /// The globs whose rarest literal is the one at the same place, in their order.
    by_literal: Vec<Vec<usize>>,
    /// The globs without a literal, such as `*` and `???`.
    without_literal: Vec<usize>,
}

impl Globs {
    /// Compiles a list.
    #[must_use]
    pub fn new(globs: Vec<WildMatch>) -> Self {
        let mut compiled = Compiled { globs, ..Compiled::default() };
        // One glob is compared faster than its literal is searched for.
        if compiled.globs.len() > 1 {
            compiled.index();
        }
        Self(Arc::new(compiled))
    }

    /// The place of the first glob that matches all of the text.
    #[must_use]
    pub fn first_match(&self, text: &str) -> Option<usize> {
        self.0.first_match(text)
    }

    /// Whether a glob matches all of the text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.first_match(text).is_some()
    }

    /// The globs in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, WildMatch> {
        self.0.globs.iter()
    }

    /// The glob at this place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&WildMatch> {
        self.0.globs.get(place)
    }
}

impl Compiled {
    fn index(&mut self) {
        let texts: Vec<String> = self.globs.iter().map(WildMatch::pattern).collect();
        let mut uses: HashMap<&str, usize> = HashMap::new();
        for literal in texts.iter().flat_map(|text| literals(text)) {
            *uses.entry(literal).or_default() += 1;
        }
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut found = Vec::new();
        for (glob, text) in texts.iter().enumerate() {
            let rarest = literals(text)
                .min_by_key(|literal| (uses.get(literal).copied(), Reverse(literal.len())));
            let Some(literal) = rarest else {
                self.without_literal.push(glob);
                continue;
            };
            let place = *places.entry(literal).or_insert_with(|| {
                found.push(literal);
                self.by_literal.push(Vec::new());
                found.len() - 1
            });
            if let Some(globs) = self.by_literal.get_mut(place) {
                globs.push(glob);
            }
        }
        // Its states take a few bytes each; a table by byte would take a kilobyte.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        // Fails for more than 2 billion states; then each glob is compared.
        self.literals = AhoCorasick::builder().kind(kind).build(found).ok();
    }

    fn first_match(&self, text: &str) -> Option<usize> {
        let matches = |place: &usize| self.globs.get(*place).is_some_and(|glob| glob.matches(text));
        let Some(literals) = &self.literals else { return (0..self.globs.len()).find(matches) };
        let mut candidates = self.without_literal.clone();
        // Each literal counts once, however often the text repeats it.
        let mut seen = Vec::new();
        for literal in literals.find_overlapping_iter(text) {
            let place = literal.pattern().as_usize();
            if !seen.contains(&place) {
                seen.push(place);
                candidates.extend(self.by_literal.get(place).into_iter().flatten());
            }
        }
        candidates.sort_unstable();
        candidates.into_iter().find(|place| matches(place))
    }
}

/// The parts of a glob that a text must contain to match.
fn literals(glob: &str) -> impl Iterator<Item = &str> {
    glob.split(['*', '?']).filter(|literal| !literal.is_empty())
}

impl FromIterator<WildMatch> for Globs {
    fn from_iter<I: IntoIterator<Item = WildMatch>>(globs: I) -> Self {
        Self::new(globs.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Globs {
    type Item = &'a WildMatch;
    type IntoIter = std::slice::Iter<'a, WildMatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.0.globs == other.0.globs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compiled(globs: &[impl AsRef<str>]) -> Globs {
        globs.iter().map(|glob| WildMatch::new(glob.as_ref())).collect()
    }

    #[test]
    fn the_first_glob_of_the_list_that_matches_is_found() {
        let globs = compiled(&["a/*.png", "*/Norder?/*", "*.png", "é?", "b", "*"]);
        for (text, place) in [
            ("a/b.png", 0),
            ("a/Norder3/x.png", 0),
            ("c/Norder3/x.png", 1),
            ("c/Norder10/x.png", 2),
            ("éü", 3),
            ("é", 5),
            ("b", 4),
            ("bb", 5),
            ("", 5),
        ] {
            assert_eq!(globs.first_match(text), Some(place), "{text}");
        }
        assert_eq!(compiled(&["a*", "*b"]).first_match("ba"), None);
        assert_eq!(Globs::default().first_match(""), None);
    }

    /// The text has 500 occurrences of the literal of 200 globs.
    #[test]
    fn a_text_that_repeats_a_literal_is_compared_once_with_each_glob() {
        let globs: Vec<_> = (0..200).map(|glob| format!("*/a*/a*{}", glob % 2)).collect();
        let text = "/a".repeat(500);
        assert_eq!(compiled(&globs).first_match(&text), None);
        assert_eq!(compiled(&globs).first_match(&format!("{text}1")), Some(1));
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_comparison_with_each_glob_finds(
            globs in proptest::collection::vec("[abé*?]{0,5}", 0..12),
            texts in proptest::collection::vec("[abéü]{0,8}", 1..20),
        ) {
            let index = compiled(&globs);
            for text in texts {
                let each = globs.iter().position(|glob| WildMatch::new(glob).matches(&text));
                prop_assert_eq!(index.first_match(&text), each, "{} in {:?}", text, globs);
            }
        }
    }
}
