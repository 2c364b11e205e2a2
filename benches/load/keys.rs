//! What a key of the load run says of its object, so that the store needs no list of them and a
//! viewer knows what to expect: `tiles/431220-17.webp` is 431,220 bytes long.

/// Length in bytes of the object under this key; none where there is no object.
pub(crate) fn length(key: &str) -> Option<u64> {
    let name = key.rsplit('/').next()?;
    name.split_once('-')?.0.parse().ok()
}

/// The strong ETag of the object under this key, in quotes: 32 hexadecimal digits, as S3's are.
pub(crate) fn etag(key: &str) -> String {
    format!("\"{:016x}{:016x}\"", hash(key), fnv(0x6c62_272e_07bb_0142, key))
}

/// A number that tells keys apart.
pub(crate) fn hash(key: &str) -> u64 {
    fnv(0xcbf2_9ce4_8422_2325, key)
}

/// FNV-1a, from this start.
fn fnv(start: u64, key: &str) -> u64 {
    key.bytes()
        .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
