//! Objects in blocks: objects too large to be stored whole, and objects of which a range was requested
//! first. The head of such an object is an entry under the object's key. Each block is an entry of its
//! own, in tiers of their own, so that reading large objects evicts no tiles.

mod admit;
pub(super) mod arrival;
pub(super) mod arriving_body;
pub(super) mod fetches;
mod fill_as_read;
pub(super) mod layout;
pub(super) mod object;
mod range_fetch;
pub(super) mod reader;
mod reserve;
pub(super) mod streams;
pub(super) mod tier;
mod unreliable;
pub(super) mod version;

pub(super) use self::admit::BodyRange;
