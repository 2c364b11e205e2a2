//! Zip files as other programs write them.

use std::io::Write as _;

use rawzip::extra_fields::ExtraFieldId;
use rawzip::{CompressionMethod, Header, ZipArchiveWriter};

/// A zip file whose members claim to be of this method; their bytes are written as they are.
pub(crate) fn zip<N: AsRef<str>, B: AsRef<[u8]>>(
    members: &[(N, B)],
    method: CompressionMethod,
) -> Vec<u8> {
    written(members, method, false, b"")
}

/// The same. Members may claim to be encrypted; `extra` adds an extra field to the headers before them alone.
pub(crate) fn written<N: AsRef<str>, B: AsRef<[u8]>>(
    members: &[(N, B)],
    method: CompressionMethod,
    encrypted: bool,
    extra: &[u8],
) -> Vec<u8> {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (name, bytes) in members {
        let file = archive.new_file(name.as_ref());
        let mut file = file.compression_method(method).encrypted(encrypted);
        if !extra.is_empty() {
            file = file.extra_field(ExtraFieldId::new(0x7777), extra, Header::LOCAL).expect("room");
        }
        let (mut entry, config) = file.start().expect("a header");
        let mut data = config.wrap(&mut entry);
        data.write_all(bytes.as_ref()).expect("written");
        let (_, descriptor) = data.finish().expect("an end");
        entry.finish(descriptor).expect("an end");
    }
    archive.finish().expect("a directory")
}
