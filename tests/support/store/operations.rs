//! The operations besides reading objects: listings, and uploads, which a gateway must never request.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use s3s::dto::{
    Bucket, CommonPrefix, CreateBucketInput, CreateBucketOutput, DeleteObjectInput,
    DeleteObjectOutput, ETag, ListBucketsInput, ListBucketsOutput, ListObjectsV2Input,
    ListObjectsV2Output, PutObjectInput, PutObjectOutput, StreamingBlob,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::object::Object;
use super::{Store, read};

/// Keys in one page of a listing, S3's own limit.
const PAGE: usize = 1000;

pub(crate) struct Operations(pub(crate) Store);

impl Operations {
    fn require_bucket(&self, name: &str) -> S3Result<()> {
        if read(&self.0.0.buckets).contains_key(name) {
            Ok(())
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    fn require_listing(&self) -> S3Result<()> {
        if self.0.manners().may_list { Ok(()) } else { Err(s3_error!(AccessDenied)) }
    }
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.0.create_bucket(&request.input.bucket);
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        self.require_bucket(&input.bucket)?;
        let mut object = Object::new(collect(input.body).await?);
        object.content_type = input.content_type;
        object.cache_control = input.cache_control;
        object.content_encoding = input.content_encoding;
        object.content_disposition = input.content_disposition;
        object.metadata = input.metadata.into_iter().flatten().collect();
        let e_tag = Some(ETag::Strong(object.etag().to_owned()));
        self.0.put(&input.bucket, &input.key, object);
        Ok(S3Response::new(PutObjectOutput { e_tag, ..PutObjectOutput::default() }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.require_bucket(&request.input.bucket)?;
        self.0.delete(&request.input.bucket, &request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.require_listing()?;
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let token = input.continuation_token.as_deref().map(key_of_token).transpose()?;
        let after = token.as_deref().or(input.start_after.as_deref());
        let is_encoded = input.encoding_type.is_some();
        let shown = |key: &str| if is_encoded { form_encoded(key) } else { key.to_owned() };
        let wanted =
            input.max_keys.and_then(|n| usize::try_from(n).ok()).map_or(PAGE, |n| n.min(PAGE));
        let buckets = read(&self.0.0.buckets);
        let keys = buckets.get(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let mut groups = BTreeSet::new();
        let mut contents = Vec::new();
        let mut last = None;
        let mut is_truncated = false;
        for (key, object) in keys.range(prefix.clone()..) {
            let Some(tail) = key.strip_prefix(&prefix) else { break };
            if after.is_some_and(|after| key.as_str() <= after) {
                continue;
            }
            let delimiter = input.delimiter.as_deref();
            let group = delimiter.and_then(|delimiter| {
                let (group, _) = tail.split_once(delimiter)?;
                Some(format!("{prefix}{group}{delimiter}"))
            });
            // A group belongs to one page, however many keys it has.
            if group.as_ref().is_some_and(|group| groups.contains(group)) {
                last = Some(key.clone());
                continue;
            }
            if contents.len() + groups.len() == wanted {
                is_truncated = true;
                break;
            }
            last = Some(key.clone());
            if let Some(group) = group {
                groups.insert(group);
                continue;
            }
            contents.push(s3s::dto::Object {
                key: Some(shown(key)),
                size: i64::try_from(object.body.len()).ok(),
                e_tag: Some(ETag::Strong(object.etag().to_owned())),
                last_modified: Some(object.last_modified.into()),
                ..s3s::dto::Object::default()
            });
        }
        let common_prefixes =
            groups.iter().map(|group| CommonPrefix { prefix: Some(shown(group)) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            name: Some(input.bucket),
            prefix: input.prefix.as_deref().map(shown),
            encoding_type: input.encoding_type,
            delimiter: input.delimiter,
            is_truncated: Some(is_truncated),
            next_continuation_token: last.filter(|_| is_truncated).map(hex::encode),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.require_listing()?;
        let buckets = read(&self.0.0.buckets)
            .keys()
            .map(|name| Bucket { name: Some(name.clone()), ..Bucket::default() })
            .collect();
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            ..ListBucketsOutput::default()
        }))
    }
}

/// The last key of the page before, in a token.
fn key_of_token(token: &str) -> S3Result<String> {
    let key = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

/// `encoding-type=url` as Amazon has it: as in a form, but slashes stay.
fn form_encoded(key: &str) -> String {
    let encoded = key.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' | b'/' => {
            char::from(byte).to_string()
        }
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.map_err(|_| s3_error!(BadDigest))?);
        }
    }
    Ok(bytes.freeze())
}
