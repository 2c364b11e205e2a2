//! The pages that a browser shows: values in, HTML out. Text becomes HTML in one place ([`html::escape`]),
//! each page is put into one frame ([`html::Site::document`]), and what a page loads is an asset of the
//! gateway itself ([`assets::Assets`]).
//!
//! A new page is a function here that returns its `<main>`, framed by the site; the gateway sends it with
//! [`html::CONTENT_SECURITY_POLICY`], or with a policy of its own beside that one. A new script or style is
//! a file in `pages/assets` and a row in [`assets::Assets`].

pub mod assets;
pub mod docs;
pub mod error;
pub mod html;
pub mod landing;
pub mod listing;
pub mod viewer;
