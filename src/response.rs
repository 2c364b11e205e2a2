//! What the gateway answers with: the head of an object, or a refusal.

pub mod object_head;
pub mod refusal;
