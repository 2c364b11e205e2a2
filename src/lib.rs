//! stub
pub mod config;
pub mod mime;
pub mod s3;
pub mod secret;
