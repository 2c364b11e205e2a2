//! A sky survey in the layout of HiPS, as its own files describe it: the paths of its tiles, its
//! `properties`, its coverage map. Values in, values out. Everything is read strictly, since what a survey
//! says decides which tiles are requested: what is not exactly of the standard is not recognised.
//!
//! - HiPS 1.0: <https://www.ivoa.net/documents/HiPS/20170519/>
//! - MOC 2.0, coverage maps: <https://www.ivoa.net/documents/MOC/20220727/>

mod coverage;
mod exclusion;
mod format;
mod hips_list;
mod path;
mod properties;
mod sample;
mod tile;

pub use coverage::{Coverage, InvalidMap, MAX_MAP_BYTES};
pub use exclusion::Exclusion;
pub use format::TileFormat;
pub use hips_list::hips_list_record;
pub use path::{SurveyFile, locate};
pub use properties::{
    Frame, InvalidNumber, MANDATORY, MAX_PROPERTIES_BYTES, Properties, PropertyFault,
};
pub use sample::sample;
pub use tile::{MAX_ORDER, Tile};
