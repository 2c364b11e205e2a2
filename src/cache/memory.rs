//! Memory: the tier of entries, its limit, the budget that bodies share, the share of pinned objects, and reservations of both.

pub mod budget;
pub mod limit;
pub mod pins;
mod remembered;
pub mod reservation;
pub mod tier;

pub use tier::MemoryTier;
