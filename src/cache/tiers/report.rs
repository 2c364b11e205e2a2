//! How full the tiers are, for operators and for metrics.

use serde_json::{Value, json};

use crate::cache::disk::DiskState;
use crate::cache::tiers::Tiers;

/// How full a tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// `memory`, `blocks` (in memory, too) or `disk`.
    pub name: &'static str,
    pub entries: u64,
    /// In memory including bodies that are arriving.
    pub bytes: u64,
    pub limit: u64,
}

impl Tiers {
    /// The counters and sizes, with these numbers of objects and blocks that are being fetched, for
    /// operators.
    #[must_use]
    pub fn report(&self, fetches: u64, blocks: u64) -> Value {
        let mut report = self.statistics.report();
        let sizes = [
            ("memory_bytes", self.budget.held() + self.blocks.budget().held()),
            ("memory_limit", self.budget.limit() + self.blocks.budget().limit()),
            ("block_bytes", self.blocks.budget().held()),
            ("block_entries", self.blocks.memory().entries()),
            ("pinned_bytes", self.pins().held()),
            ("pinned_limit", self.pins().limit()),
            ("fetches_under_way", fetches),
            ("blocks_under_way", blocks),
            ("memory_entries", self.memory.entries()),
        ];
        report.extend(sizes.map(|(name, value)| (name.to_owned(), value.into())));
        let disk = self.disk.as_ref().map(|disk| {
            json!({
                "state": disk.state().to_string(),
                "bytes": disk.bytes(),
                "entries": disk.entries(),
                "block_bytes": disk.block_bytes(),
            })
        });
        report.insert("disk".to_owned(), disk.into());
        if let Some(shared) = self.shared_status() {
            let errors: serde_json::Map<String, Value> =
                shared.errors.iter().map(|(cause, n)| ((*cause).to_owned(), (*n).into())).collect();
            let shared = json!({
                "state": if shared.is_up { "on" } else { "off" },
                "messages": if shared.hears { "on" } else { "off" },
                "queued": shared.queued,
                "queued_bytes": shared.queued_bytes,
                "errors": errors,
            });
            report.insert("shared".to_owned(), shared);
        }
        Value::Object(report)
    }

    /// How full each tier is.
    #[must_use]
    pub fn sizes(&self) -> Vec<Tier> {
        let (blocks, memory) = (self.blocks.budget(), &self.budget);
        let mut tiers = vec![
            Tier {
                name: "memory",
                entries: self.memory.entries(),
                bytes: memory.held(),
                limit: memory.limit(),
            },
            Tier {
                name: "blocks",
                entries: self.blocks.memory().entries(),
                bytes: blocks.held(),
                limit: blocks.limit(),
            },
        ];
        tiers.extend(self.disk.as_ref().map(|disk| Tier {
            name: "disk",
            entries: disk.entries(),
            bytes: disk.bytes(),
            limit: disk.limit(),
        }));
        tiers
    }

    /// Whether the disk tier is in service or about to be; `None` if there is none.
    #[must_use]
    pub fn disk_is_up(&self) -> Option<bool> {
        self.disk.as_ref().map(|disk| !matches!(disk.state(), DiskState::Off(_)))
    }
}
