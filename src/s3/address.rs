//! The object that a request path names: `profile@bucket` and the key, percent-decoded exactly once.

use std::fmt;

use crate::s3::encode::decode;

/// The address of an object. The key is unchanged byte for byte; nothing is normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAddress {
    /// The part before the `@`, if there is one.
    pub profile: Option<String>,
    /// The bucket; without bucket validation it may be Ceph's `tenant:bucket`.
    pub bucket: String,
    /// The decoded key; empty when the path ends after the bucket.
    pub key: String,
}

/// Why a path is not the address of an object. `Display` is the sentence for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    Escape,
    Utf8,
    Nul,
    DotSegment,
    KeyTooLong,
    ManyAt,
    ProfileEmpty,
    ProfileInvalid,
    BucketEmpty,
    BucketInvalid,
    Arn,
    ExpressBucket,
    Token,
}

/// The longest key S3 stores, in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_KEY_BYTES: usize = 1024;

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "every % in the path must be followed by two hexadecimal digits",
            Self::Utf8 => "the path is not valid UTF-8 after percent-decoding",
            Self::Nul => "the path contains a NUL character",
            Self::DotSegment => "the path contains a . or .. segment (plain or percent-encoded)",
            Self::KeyTooLong => "the key is longer than 1024 bytes",
            Self::ManyAt => "profile@bucket contains more than one @",
            Self::ProfileEmpty => "the profile name before the @ is empty",
            Self::ProfileInvalid => {
                "the profile name before the @ may contain only letters, digits, dots, hyphens and \
                 underscores"
            }
            Self::BucketEmpty => "the bucket name is empty",
            Self::BucketInvalid => {
                "the bucket name must be 1 to 255 letters, digits, dots, hyphens and underscores"
            }
            Self::Arn => "ARNs are not accepted as bucket names",
            Self::Token => {
                "the continuation-token in the query is not one of this folder; begin with its first page"
            }
            Self::ExpressBucket => {
                "S3 Express directory buckets (names that end in --x-s3) are not supported"
            }
        })
    }
}

impl std::error::Error for AddressError {}

impl ObjectAddress {
    /// Parses the two raw parts of `…/s3/{profile@bucket}/{key}`, still percent-encoded and without
    /// the query. Without `validate_bucket`, Ceph's `tenant:bucket` is accepted as well.
    ///
    /// # Errors
    /// The first rule that the path breaks.
    pub fn parse(
        bucket_segment: &[u8],
        key: &[u8],
        validate_bucket: bool,
    ) -> Result<Self, AddressError> {
        let segment = decode_text(bucket_segment)?;
        let key = decode_text(key)?;
        Self::of_text(&segment, key, validate_bucket)
    }

    /// The address of the two parts, which are decoded already.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn of_text(
        segment: &str,
        key: String,
        validate_bucket: bool,
    ) -> Result<Self, AddressError> {
        let (profile, bucket) = match segment.split_once('@') {
            None => (None, segment),
            Some((_, rest)) if rest.contains('@') => return Err(AddressError::ManyAt),
            Some(("", _)) => return Err(AddressError::ProfileEmpty),
            Some((profile, _)) if !is_profile_name(profile) => {
                return Err(AddressError::ProfileInvalid);
            }
            Some((profile, bucket)) => (Some(profile.to_owned()), bucket),
        };
        check_bucket(bucket, validate_bucket)?;
        check_key(&key)?;
        Ok(Self { profile, bucket: bucket.to_owned(), key })
    }
}

impl ObjectAddress {
    /// `s3://profile@bucket/key`, decoded: the name of the object in messages and logs.
    #[must_use]
    pub fn name(&self) -> String {
        self.name_parts().concat()
    }

    /// The parts of [`ObjectAddress::name`].
    #[must_use]
    pub fn name_parts(&self) -> [&str; 6] {
        let profile = self.profile.as_deref().unwrap_or_default();
        let at = if self.profile.is_some() { "@" } else { "" };
        ["s3://", profile, at, &self.bucket, "/", &self.key]
    }
}

/// Whether the path of a URL can name the object with this key.
///
/// # Errors
/// The first rule that the key breaks.
pub fn check_key(key: &str) -> Result<(), AddressError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(AddressError::KeyTooLong);
    }
    if key.contains('\0') {
        return Err(AddressError::Nul);
    }
    if key.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(AddressError::DotSegment);
    }
    Ok(())
}

/// Whether this is a valid profile name: ASCII letters, digits, dots, hyphens and underscores.
#[must_use]
pub fn is_profile_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_name_byte)
}

fn decode_text(raw: &[u8]) -> Result<String, AddressError> {
    let bytes = decode(raw).map_err(|_| AddressError::Escape)?;
    if bytes.contains(&0) {
        return Err(AddressError::Nul);
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Utf8)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// The bucket names that botocore accepts (`^[a-zA-Z0-9.\-_]{1,255}$`), which include the legacy names
/// that Ceph still supports, without those that would change the endpoint or the path.
fn check_bucket(bucket: &str, validate: bool) -> Result<(), AddressError> {
    if bucket.is_empty() {
        return Err(AddressError::BucketEmpty);
    }
    if bucket.starts_with("arn:") {
        return Err(AddressError::Arn);
    }
    if bucket.ends_with("--x-s3") {
        return Err(AddressError::ExpressBucket);
    }
    let parts = match bucket.split_once(':') {
        Some((tenant, name)) if !validate => [Some(tenant), Some(name)],
        _ => [Some(bucket), None],
    };
    for part in parts.into_iter().flatten() {
        if part == "." || part == ".." {
            return Err(AddressError::DotSegment);
        }
        if !(1..=255).contains(&part.len()) || !part.bytes().all(is_name_byte) {
            return Err(AddressError::BucketInvalid);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::encode::encode_path;
    use proptest::prelude::*;

    fn parse(path: &str) -> Result<String, AddressError> {
        let (bucket, key) = path.split_once('/').expect("a test path has a slash");
        ObjectAddress::parse(bucket.as_bytes(), key.as_bytes(), true).map(|a| a.name())
    }

    #[test]
    fn keys_are_decoded_once_and_never_normalised() {
        for (path, object) in [
            ("bk/a%20b.png", "s3://bk/a b.png"),
            ("bk/a+b.png", "s3://bk/a+b.png"),
            ("bk/a%2Bb.png", "s3://bk/a+b.png"),
            ("bk/%C3%A9.png", "s3://bk/é.png"),
            ("bk/e%CC%81.png", "s3://bk/e\u{301}.png"),
            ("bk/a;b&c=d:e.png", "s3://bk/a;b&c=d:e.png"),
            ("bk/x//y.png", "s3://bk/x//y.png"),
            ("bk/x%2F%2Fy.png", "s3://bk/x//y.png"),
            ("bk//lead.png", "s3://bk//lead.png"),
            ("bk/a%2541.png", "s3://bk/a%41.png"),
            ("bk/a%23b.png", "s3://bk/a#b.png"),
            ("bk/a%3Fb.png", "s3://bk/a?b.png"),
            ("bk/tab%09x.png", "s3://bk/tab\tx.png"),
            ("bk/trail/", "s3://bk/trail/"),
            ("bk/...", "s3://bk/..."),
            ("bk/a/..b/.c", "s3://bk/a/..b/.c"),
            ("bk/", "s3://bk/"),
            ("hips@bk/k.png", "s3://hips@bk/k.png"),
            ("hips%40bk/k.png", "s3://hips@bk/k.png"),
            ("Old_Bucket.X-1/k", "s3://Old_Bucket.X-1/k"),
        ] {
            assert_eq!(parse(path).as_deref(), Ok(object), "{path}");
        }
    }

    #[test]
    fn paths_that_could_address_other_objects_are_refused() {
        for (path, error) in [
            ("bk/a/../b", AddressError::DotSegment),
            ("bk/..%2f..%2fetc", AddressError::DotSegment),
            ("bk/%2e%2E/b", AddressError::DotSegment),
            ("bk/./b", AddressError::DotSegment),
            ("bk/b/.", AddressError::DotSegment),
            ("../b", AddressError::DotSegment),
            ("..%2fbk/k", AddressError::BucketInvalid),
            ("bk%2Fa/k", AddressError::BucketInvalid),
            ("bk/a%00.png", AddressError::Nul),
            ("bk%00/a.png", AddressError::Nul),
            ("bk/100%", AddressError::Escape),
            ("bk/%zz", AddressError::Escape),
            ("bk/%+1", AddressError::Escape),
            ("bk/%FF.png", AddressError::Utf8),
            ("@bk/k", AddressError::ProfileEmpty),
            ("hips@/k", AddressError::BucketEmpty),
            ("a@b@bk/k", AddressError::ManyAt),
            ("a%40b@bk/k", AddressError::ManyAt),
            ("hips:x@bk/k", AddressError::ProfileInvalid),
            ("evil.com%2F@bk/k", AddressError::ProfileInvalid),
            ("%5Bbk/k", AddressError::BucketInvalid),
            ("b%20k/k", AddressError::BucketInvalid),
            ("bk%3Fq/k", AddressError::BucketInvalid),
            ("b%C3%A9/k", AddressError::BucketInvalid),
            ("ten:bkt/k", AddressError::BucketInvalid),
            ("arn:aws:s3:us-west-2:1:accesspoint:foo/k", AddressError::Arn),
            ("x--use1-az4--x-s3/k", AddressError::ExpressBucket),
        ] {
            assert_eq!(parse(path), Err(error), "{path}");
        }
    }

    #[test]
    fn keys_of_1024_bytes_are_the_longest() {
        let longest = format!("bk/{}", "k".repeat(1024));
        assert!(parse(&longest).is_ok());
        assert_eq!(parse(&format!("{longest}k")), Err(AddressError::KeyTooLong));
    }

    #[test]
    fn ceph_tenants_need_validation_switched_off() {
        let lax = |segment: &str| ObjectAddress::parse(segment.as_bytes(), b"k", false);
        assert_eq!(lax("ten:bkt").map(|a| a.bucket).as_deref(), Ok("ten:bkt"));
        assert_eq!(lax("p@ten%3Abkt").map(|a| a.bucket).as_deref(), Ok("ten:bkt"));
        assert_eq!(lax("ten:..").map(|a| a.bucket), Err(AddressError::DotSegment));
        assert_eq!(lax("a:b:c").map(|a| a.bucket), Err(AddressError::BucketInvalid));
        assert_eq!(lax("arn:aws").map(|a| a.bucket), Err(AddressError::Arn));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_address_or_an_error(
            bucket in proptest::collection::vec(any::<u8>(), 0..40),
            key in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            if let Ok(address) = ObjectAddress::parse(&bucket, &key, true) {
                prop_assert!(address.bucket.bytes().all(is_name_byte));
            }
        }

        #[test]
        fn an_encoded_key_comes_back_byte_for_byte(key in "[^\0]{0,60}") {
            let mut raw = String::new();
            encode_path(key.as_bytes(), &mut raw);
            match ObjectAddress::parse(b"bk", raw.as_bytes(), true) {
                Ok(address) => prop_assert_eq!(address.key, key),
                Err(error) => prop_assert_eq!(error, AddressError::DotSegment),
            }
        }
    }
}
