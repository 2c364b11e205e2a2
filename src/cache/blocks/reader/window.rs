//! Which blocks a reading comes to, and when: a window over those it will need, wider for a reader that
//! had to wait, and what its next request will want.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Hold, Reading, add, coming};
use crate::cache::blocks::Block;
use crate::cache::blocks::range_fetch::Run;
use crate::cache::blocks::reserve::{Claim, Claimed, Need};

impl Reading {
    /// Comes to the next blocks, when half of those it came to before are read.
    pub(super) fn come_to_blocks(&mut self) {
        let at_hand = self.ahead.len() as u64;
        if at_hand > self.window / 2
            || at_hand > 0 && self.plan.is_empty() && self.beyond.is_empty()
        {
            return;
        }
        if std::mem::take(&mut self.waited) {
            self.window = self.window.saturating_mul(2).min(self.widest);
        }
        let mut run = VecDeque::new();
        while (self.ahead.len() as u64) < self.window {
            let Some(index) = self.next_planned() else { break };
            match self.cache.claim(&self.wanted, &self.blocks, index, Need::of(self.needed(index)))
            {
                Claimed::Kept(block) => self.ahead.push_back((index, self.kept(index, block))),
                Claimed::Coming(flight) => {
                    self.ahead.push_back((index, Hold::Coming { flight, on_disk: false }));
                }
                Claimed::Fetch(claim) => {
                    self.ahead.push_back((index, coming(&claim)));
                    self.join(&mut run, claim);
                }
                Claimed::NoRoom => {
                    self.put_back(index);
                    break;
                }
            }
        }
        self.come_to_more(&mut run);
        self.fetch(run);
    }

    fn kept(&self, index: u64, block: Arc<Block>) -> Hold {
        if self.arriving.contains(&index) {
            add(&self.counts.store);
        } else {
            add(&self.counts.memory);
            self.cache.statistics.block_hits.inc();
        }
        Hold::Kept(block)
    }

    /// The first byte of a block that is needed.
    fn needed(&self, index: u64) -> u64 {
        let bytes = self.blocks.layout.bytes(index);
        if bytes.contains(&self.start) { self.start - bytes.start } else { 0 }
    }

    /// Comes to what the reader will want next, when it has come to all it wants now.
    fn come_to_more(&mut self, run: &mut VecDeque<Claim>) {
        if !self.plan.is_empty() {
            return;
        }
        for index in std::mem::take(&mut self.beyond) {
            let key = self.blocks.key_of(&self.wanted.key, index);
            if self.cache.blocks.memory().peek(key.as_bytes()).is_some() {
                continue;
            }
            // Nothing makes way for what may never be wanted.
            let need = Need { makes_way: false, ..Need::of(0) };
            match self.cache.claim(&self.wanted, &self.blocks, index, need) {
                Claimed::Kept(_) => {}
                Claimed::Coming(flight) => self.fetched_beyond.push(flight),
                Claimed::Fetch(claim) => {
                    self.cache.statistics.blocks_read_ahead.inc();
                    self.fetched_beyond.push(Arc::clone(claim.flight()));
                    self.join(run, claim);
                }
                Claimed::NoRoom => break,
            }
        }
    }

    pub(super) fn next_planned(&mut self) -> Option<u64> {
        let run = self.plan.front_mut()?;
        let index = run.start;
        run.start += 1;
        if run.is_empty() {
            self.plan.pop_front();
        }
        Some(index)
    }

    /// Comes anew to the blocks it came to before: the first of them failed.
    pub(super) fn come_again(&mut self) {
        // Held until others hold them, so that nobody gives up what is still wanted.
        let before = self.put_all_back();
        self.come_to_blocks();
        drop(before);
    }

    /// Forgets the blocks it came to; they are part of what it will need again.
    pub(super) fn put_all_back(&mut self) -> VecDeque<(u64, Hold)> {
        let before = std::mem::take(&mut self.ahead);
        for (index, _) in before.iter().rev() {
            self.put_back(*index);
        }
        before
    }

    fn put_back(&mut self, index: u64) {
        match self.plan.front_mut() {
            Some(run) if run.start == index + 1 => run.start = index,
            _ => self.plan.push_front(index..index + 1),
        }
    }

    /// Adds a block to those fetched together, where that is one request to the store.
    fn join(&self, run: &mut VecDeque<Claim>, claim: Claim) {
        let together = run
            .back()
            .is_some_and(|last| last.index + 1 == claim.index && !last.on_disk && !claim.on_disk);
        if !together || run.len() as u64 >= self.widest {
            self.fetch(std::mem::take(run));
        }
        run.push_back(claim);
    }

    fn fetch(&self, claims: VecDeque<Claim>) {
        if claims.is_empty() {
            return;
        }
        let (cache, wanted) = (Arc::clone(&self.cache), Arc::clone(&self.wanted));
        let (blocks, patience) = (Arc::clone(&self.blocks), self.patience());
        Run { cache, wanted, blocks, claims, patience }.begin();
    }
}
