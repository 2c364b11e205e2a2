//! Memory: the tier of entries, its limit, the budget that bodies share, and reservations of both.

pub mod budget;
pub mod limit;
mod remembered;
pub mod reservation;
pub mod tier;

pub use tier::MemoryTier;
