//! The OpenAPI 3.1.0 document of the gateway's routes: <https://spec.openapis.org/oas/v3.1.0>.

use serde_json::{Map, Value, json};

use super::{DESCRIPTION, VERSION};

const WITH_SLASH: &str = "redirects to the same path with a trailing slash";

type Responses = Vec<(&'static str, Value)>;

/// The document for a service of this name behind this path prefix. `cors` says whether preflight
/// requests are answered.
/// `origin` is scheme and host as the client named them, or empty.
pub(super) fn document(name: &str, prefix: &str, origin: &str, cors: bool) -> Value {
    let server = if origin.is_empty() { "/" } else { origin };
    json!({
        "openapi": "3.1.0",
        "info": { "title": name, "version": VERSION, "description": DESCRIPTION },
        "servers": [{ "url": server }],
        "paths": paths(prefix, cors),
        "components": { "schemas": schemas() },
    })
}

/// The operations of every path that `crate::gateway::route` knows.
fn paths(prefix: &str, cors: bool) -> Map<String, Value> {
    let mut paths = Map::new();
    let metadata = for_people("Name and version", &named_schema("UserMetadata"));
    let metadata = [metadata, vec![user_missing()]].concat();
    paths.insert(format!("{prefix}/"), read("Name and version", &json!([]), metadata));
    // With an empty prefix this entry replaces the one before: both have the path `/`.
    let index = for_people("Name and version", &named_schema("Metadata"));
    paths.insert("/".to_owned(), read("Name and version, for health probes", &json!([]), index));
    let document = page("the OpenAPI document", "application/json", &json!({ "type": "object" }));
    let summary = "This OpenAPI document";
    paths.insert(format!("{prefix}/openapi.json"), read(summary, &json!([]), document));
    let list = page("records of keywords and values", "text/plain", &json!({ "type": "string" }));
    let list =
        [list, vec![("304", described("the list has not changed")), user_missing()]].concat();
    let summary = "The HiPS surveys of listed profiles, as a node of the HiPS network lists them";
    paths.insert(format!("{prefix}/hipslist"), read(summary, &json!([]), list));
    for name in ["docs", "redoc"] {
        let docs = page("HTML page", "text/html", &json!({ "type": "string" }));
        paths.insert(format!("{prefix}/{name}"), read("Documentation page", &json!([]), docs));
    }
    for name in ["openapi.json", "docs", "redoc"] {
        paths.insert(
            format!("{prefix}/{name}/"),
            redirect("redirects to the same path without the trailing slash", &json!([])),
        );
    }
    if !prefix.is_empty() {
        paths.insert(prefix.to_owned(), redirect(WITH_SLASH, &json!([])));
    }
    paths.insert(format!("{prefix}/s3/{{bucket}}"), redirect(WITH_SLASH, &json!([bucket()])));
    let mut object = read(
        "An object or byte ranges of it, or a folder where the profile opens them",
        &object_parameters(),
        object_responses(),
    );
    if let (true, Some(operations)) = (cors, object.as_object_mut()) {
        let responses = vec![
            ("204", described("the Access-Control headers list what is allowed")),
            ("405", failed("not a preflight request; see the Allow header", "Detail")),
        ];
        let summary = "CORS preflight request";
        let parameters = json!([bucket(), key()]);
        operations.insert("options".to_owned(), operation(summary, &parameters, responses));
    }
    paths.insert(format!("{prefix}/s3/{{bucket}}/{{key}}"), object);
    paths
}

fn schemas() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let metadata = json!({
        "type": "object",
        "required": ["name", "version"],
        "properties": {
            "name": { "type": "string" },
            "version": { "type": "string" },
            "description": { "type": "string" },
            "repository_url": { "type": "string" },
            "documentation_url": { "type": "string" },
        }
    });
    json!({
        "Metadata": metadata,
        "UserMetadata": {
            "type": "object",
            "required": ["metadata"],
            "properties": { "metadata": named_schema("Metadata") },
        },
        "Message": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "message": text("description of the error, for people"),
                "cause": text("name of the error, for programs"),
                "request_id": text("value of the X-Request-ID response header"),
            },
        },
        "Detail": {
            "description": "error format kept from earlier versions of s3proxy",
            "type": "object",
            "required": ["detail"],
            "properties": { "detail": { "type": ["string", "array"] } },
        },
        "Folder": folder_schema(),
        "MessageOrDetail": { "anyOf": [named_schema("Message"), named_schema("Detail")] },
    })
}

fn named_schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A GET operation, and the HEAD operation derived from it.
fn read(summary: &str, parameters: &Value, responses: Responses) -> Value {
    let get = operation(summary, parameters, responses);
    let mut head = get.clone();
    if let Some(summary) = head.get_mut("summary") {
        *summary = json!("The headers of the GET response");
    }
    json!({ "get": get, "head": head })
}

/// One operation: its own responses, and the responses that every request may get.
fn operation(summary: &str, parameters: &Value, own: Responses) -> Value {
    let mut responses = own;
    for (status, response) in [
        ("400", failed("the request, or the bucket or key in its path, is malformed", "Message")),
        ("404", failed("no such page, object or profile", "MessageOrDetail")),
        ("405", failed("the method is not allowed here; see the Allow header", "Detail")),
        ("408", failed("the request line and headers did not arrive in time", "Message")),
        ("431", failed("the request line and headers are too large", "Message")),
        ("500", failed("internal error of the gateway", "Message")),
        ("503", overloaded("the limit of client connections is reached")),
    ] {
        if !responses.iter().any(|(known, _)| *known == status) {
            responses.push((status, response));
        }
    }
    responses.sort_by_key(|(status, _)| *status);
    let responses: Map<String, Value> =
        responses.into_iter().map(|(status, response)| (status.to_owned(), response)).collect();
    json!({ "summary": summary, "parameters": parameters, "responses": responses })
}

fn described(text: &str) -> Value {
    json!({ "description": text })
}

fn failed(text: &str, schema: &str) -> Value {
    let content = json!({ "application/json": { "schema": named_schema(schema) } });
    json!({ "description": text, "content": content })
}

/// A refusal that ends after the seconds in `Retry-After`.
fn overloaded(text: &str) -> Value {
    let mut response = failed(text, "Message");
    let seconds = json!({ "type": "integer", "minimum": 1, "maximum": 3600 });
    let retry_after = json!({ "description": "seconds to wait", "schema": seconds });
    if let Some(response) = response.as_object_mut() {
        response.insert("headers".to_owned(), json!({ "Retry-After": retry_after }));
    }
    response
}

fn user_missing() -> (&'static str, Value) {
    (
        "422",
        failed(
            "the required header X-Auth-Request-User, or the name in the client certificate, is missing",
            "Detail",
        ),
    )
}

fn page(text: &str, media_type: &str, schema: &Value) -> Responses {
    vec![("200", json!({ "description": text, "content": { media_type: { "schema": schema } } }))]
}

/// JSON, or a page where `Accept` names `text/html`.
fn for_people(text: &str, schema: &Value) -> Responses {
    let content = json!({
        "application/json": { "schema": schema },
        "text/html": { "schema": { "type": "string" } },
    });
    vec![("200", json!({ "description": text, "content": content }))]
}

fn redirect(text: &str, parameters: &Value) -> Value {
    let location = json!({ "Location": { "schema": { "type": "string" } } });
    let responses = vec![("307", json!({ "description": text, "headers": location }))];
    read("Redirect", parameters, responses)
}

fn object_responses() -> Responses {
    vec![
        ("200", folder_or_object()),
        ("206", described("the requested byte range, or several as multipart/byteranges")),
        ("307", described("the key is a folder; its URL ends with a slash")),
        ("304", described("not modified: the object matches the client's copy")),
        ("403", failed("the store denied access, or the bucket is not served", "Message")),
        ("412", failed("a precondition (If-Match or If-Unmodified-Since) failed", "Message")),
        ("415", failed("the media type of the object is not allowed", "Message")),
        ("416", failed("the range lies outside the object", "Message")),
        user_missing(),
        ("502", failed("the store failed", "Message")),
        ("429", overloaded("too many requests of this user or client are in flight")),
        ("503", overloaded("the store is busy, or a limit of the gateway is reached")),
        ("504", failed("the store did not answer in time", "Message")),
    ]
}

fn folder_or_object() -> Value {
    json!({
        "description": "the object; for a key that ends with a slash, where the profile has index or \
            listing, the index object of the folder or what is in it, as a page or as JSON; where the \
            profile has viewer, a page for browsers that shows a survey (a folder with properties) or a \
            FITS file",
        "content": {
            "*/*": { "schema": { "type": "string", "format": "binary" } },
            "application/json": { "schema": named_schema("Folder") },
            "text/html": { "schema": { "type": "string" } },
        },
    })
}

fn folder_schema() -> Value {
    let text = || json!({ "type": "string" });
    let or_null = |of: &str| json!({ "type": [of, "null"] });
    let entry = |more: Value| {
        let mut properties = json!({ "name": text(), "key": text(), "url": or_null("string") });
        if let (Some(all), Value::Object(more)) = (properties.as_object_mut(), more) {
            all.extend(more);
        }
        json!({ "type": "array", "items": { "type": "object", "properties": properties } })
    };
    json!({
        "type": "object",
        "required": ["bucket", "prefix", "folders", "objects", "next"],
        "properties": {
            "bucket": text(),
            "prefix": text(),
            "folders": entry(json!({})),
            "objects": entry(json!({ "size": or_null("integer"), "last_modified": or_null("string") })),
            "left_out": {
                "type": "integer",
                "description": "objects of this page whose media types are not served",
            },
            "next": { "type": ["string", "null"], "description": "the path of the next page" },
        },
    })
}

fn object_parameters() -> Value {
    let header = |name: &str, text: &str| {
        json!({
            "name": name, "in": "header", "required": false, "description": text,
            "schema": { "type": "string" },
        })
    };
    let query = |name: &str, text: &str| {
        json!({
            "name": name, "in": "query", "required": false, "description": text,
            "schema": { "type": "string" },
        })
    };
    json!([
        bucket(),
        key(),
        query("format", "json: a folder as JSON"),
        query("raw", "with any value: a FITS file itself, where the profile has viewer"),
        query("object", "with any value: the object whose key ends with the slash, not the folder"),
        query("continuation-token", "the next page of a folder, from `next` or its link"),
        header(
            "Accept",
            "application/json: a folder as JSON; text/html: pages for folders, viewers and errors",
        ),
        header("Range", "one or several byte ranges, such as bytes=0-99,200-299"),
        header("If-None-Match", "entity tags"),
        header("If-Modified-Since", "an HTTP date"),
        header("If-Match", "entity tags"),
        header("If-Unmodified-Since", "an HTTP date"),
        header("If-Range", "an entity tag or an HTTP date"),
    ])
}

fn bucket() -> Value {
    in_path("bucket", "the bucket name; a profile name and an @ may precede it", "hips@sky")
}

fn key() -> Value {
    in_path(
        "key",
        "the object key, percent-encoded once; may contain slashes",
        "Norder3/Allsky.png",
    )
}

fn in_path(name: &str, text: &str, example: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": text,
        "schema": { "type": "string" }, "example": example,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::route::{Route, route};

    fn described_paths(prefix: &str, cors: bool) -> Map<String, Value> {
        document("x", prefix, "", cors)["paths"].as_object().expect("an object").clone()
    }

    /// The paths of each route; a new route does not compile until it is added here.
    fn path_of(route: &Route<'_>) -> &'static [&'static str] {
        match route {
            Route::Index => &["/"],
            Route::Metadata => &["/p/"],
            Route::OpenApi => &["/p/openapi.json"],
            Route::HipsList => &["/p/hipslist"],
            Route::Docs => &["/p/docs", "/p/redoc"],
            Route::Object { .. } => &["/p/s3/{bucket}/{key}"],
            // Of the pages alone: their names change with their content.
            Route::Asset { .. } => &[],
            Route::Redirect { add_slash: true } => &["/p", "/p/s3/{bucket}"],
            Route::Redirect { add_slash: false } => &["/p/docs/", "/p/redoc/", "/p/openapi.json/"],
            Route::Unknown => &[],
        }
    }

    #[test]
    fn the_described_paths_are_the_routes() {
        let mut expected: Vec<&str> = [
            Route::Index,
            Route::Metadata,
            Route::OpenApi,
            Route::HipsList,
            Route::Docs,
            Route::Object { bucket: b"", key: b"" },
            Route::Redirect { add_slash: true },
            Route::Redirect { add_slash: false },
        ]
        .iter()
        .flat_map(path_of)
        .copied()
        .collect();
        let paths = described_paths("/p", false);
        let mut described: Vec<&str> = paths.keys().map(String::as_str).collect();
        expected.sort_unstable();
        described.sort_unstable();
        assert_eq!(described, expected);
        for (path, operations) in &paths {
            let real = path.replace("{bucket}", "b").replace("{key}", "k");
            let route = route("/p", real.as_bytes());
            assert!(path_of(&route).contains(&path.as_str()), "{path} is {route:?}");
            let redirects = operations["get"]["responses"]["307"].is_object();
            // A folder without its slash has the path of an object.
            let may = matches!(route, Route::Redirect { .. } | Route::Object { .. });
            assert_eq!(redirects, may, "{path}");
        }
    }

    #[test]
    fn without_a_prefix_the_index_for_probes_is_described() {
        let paths = described_paths("", false);
        let schema =
            &paths["/"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(*schema, named_schema("Metadata"));
        assert!(!paths.contains_key(""), "a path starts with a slash");
    }

    #[test]
    fn ranges_heads_folders_and_viewers_are_described() {
        let object = &described_paths("/p", false)["/p/s3/{bucket}/{key}"];
        for method in ["get", "head"] {
            let responses = &object[method]["responses"];
            let partial = responses["206"]["description"].as_str().unwrap_or_default();
            assert!(partial.contains("multipart/byteranges"), "{method}: {partial}");
            let whole = responses["200"]["description"].as_str().unwrap_or_default();
            for word in ["index", "listing", "viewer", "JSON"] {
                assert!(whole.contains(word), "{method}: {word}: {whole}");
            }
        }
        let content = object["get"]["responses"]["200"]["content"].as_object().expect("content");
        let types: Vec<&str> = content.keys().map(String::as_str).collect();
        assert_eq!(types, ["*/*", "application/json", "text/html"]);
    }

    /// Every parameter that `gateway/folder.rs` and `gateway/listing.rs` read, by their text.
    #[test]
    fn every_parameter_of_a_query_is_described() {
        let sources = [include_str!("../folder.rs"), include_str!("../listing.rs")].concat();
        let mut read: Vec<&str> = sources
            .split("parameter(query, \"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        read.sort_unstable();
        read.dedup();
        assert!(read.len() >= 3, "the parameters were found: {read:?}");
        let parameters = object_parameters();
        let described = parameters.as_array().expect("a list");
        for name in read {
            let is_described =
                described.iter().any(|one| one["in"] == "query" && one["name"] == name);
            assert!(is_described, "{name}");
        }
    }

    #[test]
    fn preflight_requests_are_described_only_where_they_are_answered() {
        for cors in [false, true] {
            let object = &described_paths("/p", cors)["/p/s3/{bucket}/{key}"];
            assert_eq!(object["options"].is_object(), cors);
        }
    }

    #[test]
    fn every_referenced_schema_exists() {
        let document = document("x", "/p", "", true);
        let text = document.to_string();
        let names = text.split("#/components/schemas/").skip(1);
        for name in names.filter_map(|rest| rest.split('"').next()) {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn a_404_has_either_of_its_two_bodies() {
        let object = &described_paths("/p", false)["/p/s3/{bucket}/{key}"];
        for (status, schema) in [
            ("404", "MessageOrDetail"),
            ("405", "Detail"),
            ("408", "Message"),
            ("429", "Message"),
            ("431", "Message"),
            ("500", "Message"),
            ("503", "Message"),
        ] {
            let body = &object["get"]["responses"][status]["content"]["application/json"];
            assert_eq!(body["schema"], named_schema(schema), "{status}");
        }
    }
}
