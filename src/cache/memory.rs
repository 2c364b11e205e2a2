//! Memory: the tier of entries, the limit of it, and the budget that bodies share.

pub mod budget;
pub mod limit;
pub mod tier;

pub use tier::MemoryTier;
