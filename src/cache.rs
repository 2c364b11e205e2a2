//! The cache: objects kept in memory and on disk, each fetched once however many ask for it.

pub mod disk;
pub mod entry;
pub mod freshness;
pub mod key;
pub mod rules;
pub mod statistics;
