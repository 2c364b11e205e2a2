//! What was seen of a survey: the answers for its files.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;

use crate::survey::{Coverage, InvalidMap, Properties, Tile, TileFormat};

/// How a request for a file was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    Found,
    Missing,
    /// 403, and the profile does not take it for a missing object.
    Denied,
    /// No answer about the file; the cause.
    Failed(String),
}

/// The answer for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileReply {
    pub presence: Presence,
    /// Bytes of the whole file.
    pub length: Option<u64>,
    /// The type stored with it; `None` for a file on disk.
    pub content_type: Option<String>,
    pub modified: Option<SystemTime>,
    /// The whole file, or its first bytes.
    pub bytes: Bytes,
}

impl FileReply {
    /// An answer without a file.
    pub(super) fn without(presence: Presence) -> Self {
        Self { presence, length: None, content_type: None, modified: None, bytes: Bytes::new() }
    }

    pub(super) fn is_found(&self) -> bool {
        self.presence == Presence::Found
    }

    /// Whether it is certain that there is no file.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.presence, Presence::Missing | Presence::Denied)
    }
}

/// Why a tile was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its cell is within the coverage map, its order and format are those of the survey.
    Inside,
    /// Its cell is outside of the coverage map.
    Outside,
    /// A listing names it.
    Listed,
    /// It shows whether its order, the lowest with tiles or a lower one, has any.
    Shallower,
    /// Its order is deeper than those of the survey.
    Deeper,
    /// `hips_tile_format` does not name its format.
    OtherFormat,
}

/// A tile and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TileReply {
    pub tile: Tile,
    pub format: TileFormat,
    pub reason: Reason,
    pub reply: FileReply,
}

/// The files and folders directly below a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FolderListing {
    pub folders: Vec<String>,
    pub files: Vec<String>,
    /// Whether nothing else is in it.
    pub is_whole: bool,
}

/// The coverage map that samples were drawn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MapState {
    /// It can be compared with the tiles.
    Usable,
    /// There is none, or it could not be read.
    None,
    Invalid(InvalidMap),
    /// The tiles are in another frame than the map.
    OtherFrame,
}

/// All answers.
#[derive(Debug)]
pub(super) struct Observed {
    pub now: SystemTime,
    pub properties: Properties,
    pub properties_reply: FileReply,
    pub map: MapState,
    pub map_reply: FileReply,
    /// The map, or the whole sky where there is no usable one.
    pub coverage: Coverage,
    /// Orders that have a folder, if folders may be listed.
    pub listed_orders: Option<Vec<u8>>,
    /// The lowest order with tiles, if any tile was found.
    pub lowest: Option<u8>,
    pub allsky: Vec<(TileFormat, FileReply)>,
    pub tiles: Vec<TileReply>,
    /// All tiles of the orders whose listings were read as a whole.
    pub whole_orders: BTreeMap<u8, Vec<(Tile, TileFormat)>>,
    /// Tiles in listings whose cells are outside of the map.
    pub listed_outside: Vec<Tile>,
}

impl Observed {
    pub(super) fn of(&self, reason: Reason) -> impl Iterator<Item = &TileReply> {
        self.tiles.iter().filter(move |it| it.reason == reason)
    }

    pub(super) fn found(&self) -> impl Iterator<Item = &TileReply> {
        self.tiles.iter().filter(|it| it.reply.is_found())
    }

    /// Every answer.
    pub(super) fn replies(&self) -> impl Iterator<Item = &FileReply> {
        let tiles = self.tiles.iter().map(|it| &it.reply);
        let allsky = self.allsky.iter().map(|(_, reply)| reply);
        [&self.properties_reply, &self.map_reply].into_iter().chain(allsky).chain(tiles)
    }
}
