//! Keys of the load run encode the length of their object, so that the store needs no list of
//! objects and a viewer can check the answer: `tiles/431220-17.webp` is 431,220 bytes long.

/// Length in bytes of the object under this key; `None` if there is no object.
pub(crate) fn length(key: &str) -> Option<u64> {
    let name = key.rsplit('/').next()?;
    name.split_once('-')?.0.parse().ok()
}

/// The strong ETag of the object under this key, in quotes: 32 hexadecimal digits, as S3's are.
pub(crate) fn etag(key: &str) -> String {
    format!("\"{:016x}{:016x}\"", hash(key), fnv(0x6c62_272e_07bb_0142, key))
}

/// A number derived from a key, different for each key.
pub(crate) fn hash(key: &str) -> u64 {
    fnv(0xcbf2_9ce4_8422_2325, key)
}

/// FNV-1a, with this initial value.
fn fnv(start: u64, key: &str) -> u64 {
    key.bytes()
        .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
