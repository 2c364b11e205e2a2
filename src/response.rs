//! The responses of the gateway.
//!
//! - [`object_head`]: the head of a response with an object, made of a store's headers
//! - [`refusal`]: why a request gets no object, with cause, status and sentence
//! - [`gateway_response`]: a complete response without an object, such as that of a refusal

pub mod error_text;
pub mod gateway_response;
pub mod object_head;
pub mod refusal;
