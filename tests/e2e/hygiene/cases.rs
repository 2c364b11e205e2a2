//! The test cases: a name and the bytes. `{P}` is a valid object path named after the case.

type Cases = &'static [(&'static str, &'static str)];

/// RFC 9110 and RFC 9112 require a refusal, or a read-only gateway does not support them.
pub(super) const MUST_REJECT: Cases = &[
    // Request line: RFC 9112, section 3.
    ("version-lower-case", "GET {P} http/1.1\r\nHost: a.test\r\n\r\n"),
    ("version-two-digits", "GET {P} HTTP/1.10\r\nHost: a.test\r\n\r\n"),
    ("version-comma", "GET {P} HTTP/1,1\r\nHost: a.test\r\n\r\n"),
    ("version-2-0", "GET {P} HTTP/2.0\r\nHost: a.test\r\n\r\n"),
    ("version-3-0", "GET {P} HTTP/3.0\r\nHost: a.test\r\n\r\n"),
    ("version-0-9", "GET {P} HTTP/0.9\r\nHost: a.test\r\n\r\n"),
    ("version-https", "GET {P} HTTPS/1.1\r\nHost: a.test\r\n\r\n"),
    ("version-space", "GET {P} HTTP/ 1.1\r\nHost: a.test\r\n\r\n"),
    ("version-missing", "GET {P}\r\nHost: a.test\r\n\r\n"),
    ("version-trailing-word", "GET {P} HTTP/1.1 x\r\nHost: a.test\r\n\r\n"),
    ("target-missing", "GET HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-missing", "{P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-leading-space", " GET {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-at", "G@T {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-brackets", "G(E)T {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-nul", "GE\0T {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-high-byte", "G\u{c9}T {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-colon", "GET: {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-trace", "TRACE {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-track", "TRACK {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method-connect", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
    ("method-connect-path", "CONNECT {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("tabs-for-spaces", "GET\t{P}\tHTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("request-line-alone", "GET\r\n\r\n"),
    ("http2-preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("tls-hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n"),
    ("garbage", "\u{ff}\u{fe}\0\u{1}\u{2}\r\n\r\n"),
    // Target: RFC 9112, section 3.2.
    ("target-asterisk", "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("target-authority", "GET a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n"),
    ("target-no-slash", "GET s3proxy/s3/sky/x.png HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("target-nul", "GET {P}\0.png HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("target-cr", "GET {P}\rx.png HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    // Pingora would escape the space and drop the fragment.
    ("target-space", "GET {P} x.png HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("target-two-spaces", "GET  {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("target-fragment", "GET {P}#x.png HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("absolute-ftp", "GET ftp://a.test{P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("absolute-file", "GET file://{P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("absolute-no-host", "GET http://{P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("absolute-user", "GET http://user:pw@a.test{P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("absolute-open-bracket", "GET http://[::1{P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("absolute-no-host-field", "GET http://a.test{P} HTTP/1.1\r\n\r\n"),
    // Host: RFC 9112, section 3.2.
    ("host-missing", "GET {P} HTTP/1.1\r\n\r\n"),
    ("host-twice-same", "GET {P} HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"),
    ("host-twice", "GET {P} HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
    ("host-path", "GET {P} HTTP/1.1\r\nHost: a.test/evil\r\n\r\n"),
    ("host-comma", "GET {P} HTTP/1.1\r\nHost: a.test,b.test\r\n\r\n"),
    ("host-space", "GET {P} HTTP/1.1\r\nHost: a.test b.test\r\n\r\n"),
    ("host-user", "GET {P} HTTP/1.1\r\nHost: user@a.test\r\n\r\n"),
    ("host-query", "GET {P} HTTP/1.1\r\nHost: a.test?x\r\n\r\n"),
    ("host-fragment", "GET {P} HTTP/1.1\r\nHost: a.test#x\r\n\r\n"),
    ("host-scheme", "GET {P} HTTP/1.1\r\nHost: http://a.test\r\n\r\n"),
    ("host-port-text", "GET {P} HTTP/1.1\r\nHost: a.test:http\r\n\r\n"),
    ("host-port-negative", "GET {P} HTTP/1.1\r\nHost: a.test:-1\r\n\r\n"),
    ("host-two-ports", "GET {P} HTTP/1.1\r\nHost: a.test:80:80\r\n\r\n"),
    ("host-open-bracket", "GET {P} HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ("host-quotes", "GET {P} HTTP/1.1\r\nHost: \"a.test\"\r\n\r\n"),
    ("host-backslash", "GET {P} HTTP/1.1\r\nHost: a.test\\b\r\n\r\n"),
    ("host-angle", "GET {P} HTTP/1.1\r\nHost: <a.test>\r\n\r\n"),
    ("host-high-byte", "GET {P} HTTP/1.1\r\nHost: a\u{e9}.test\r\n\r\n"),
    ("host-nul", "GET {P} HTTP/1.1\r\nHost: a\0.test\r\n\r\n"),
    ("host-space-before-colon", "GET {P} HTTP/1.1\r\nHost : a.test\r\n\r\n"),
    // Fields: RFC 9112, section 5.
    ("field-space-before-colon", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n"),
    ("field-tab-before-colon", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX\t: y\r\n\r\n"),
    ("field-no-colon", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX y\r\n\r\n"),
    ("field-no-name", "GET {P} HTTP/1.1\r\nHost: a.test\r\n: y\r\n\r\n"),
    ("field-name-space", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX Y: z\r\n\r\n"),
    ("field-name-bracket", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX[1]: z\r\n\r\n"),
    ("field-name-at", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX@Y: z\r\n\r\n"),
    ("field-name-nul", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX\0Y: z\r\n\r\n"),
    ("field-name-high-byte", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX\u{e9}: z\r\n\r\n"),
    ("field-name-del", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX\u{7f}: z\r\n\r\n"),
    ("field-value-nul", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n"),
    ("field-value-cr", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n"),
    ("field-folded", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n"),
    ("field-folded-host", "GET {P} HTTP/1.1\r\nHost: a.test\r\n b.test\r\n\r\n"),
    ("field-first-indented", "GET {P} HTTP/1.1\r\n Host: a.test\r\n\r\n"),
    // A body: a read-only gateway accepts none.
    ("body-length", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"),
    ("body-length-head", "HEAD {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"),
    ("length-negative", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: -1\r\n\r\n"),
    ("length-plus", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: +5\r\n\r\nhello"),
    ("length-hex", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x5\r\n\r\nhello"),
    ("length-text", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: five\r\n\r\nhello"),
    ("length-fraction", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5.0\r\n\r\nhello"),
    ("length-empty", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\n"),
    ("length-space", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1 1\r\n\r\nhello hello"),
    (
        "length-twice",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ),
    ("length-list", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5, 6\r\n\r\nhello"),
    (
        "length-overflow",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
    ),
    (
        "coding-chunked",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding-case",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    ),
    ("coding-identity", "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n"),
    ("coding-unknown", "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n"),
    ("coding-empty", "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\r\n\r\n"),
    (
        "coding-twice",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding-not-last",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding-quoted",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding-1-0",
        "GET {P} HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunk-extension",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk-extension-nul",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a\0b\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk-size-negative",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk-size-overflow",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    ),
];

/// Each holds a second request that a peer with other rules would see.
pub(super) const DESYNC: Cases = &[
    (
        "length-then-coding",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "coding-then-length",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: a.test\r\nContent-Length: 15\r\n\r\nx=1\r\n0\r\n\r\n",
    ),
    (
        "coding-twice-obscured",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "coding-vertical-tab",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \u{b}chunked\r\nContent-Length: 70\r\n\r\n0\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "coding-space-before-colon",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    (
        "body-is-a-request",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 65\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
    (
        "body-of-head-is-a-request",
        "HEAD {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 65\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
    (
        "body-of-the-root-is-a-request",
        "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 65\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
    (
        "body-of-post-is-a-request",
        "POST {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 65\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
    (
        "body-of-put-in-chunks",
        "PUT {P} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n41\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n\r\n0\r\n\r\n",
    ),
    (
        "length-twice",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nContent-Length: 65\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
    (
        "version-1-0-coding",
        "GET {P} HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 70\r\n\r\n0\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
    (
        "upgrade-websocket",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
    (
        "upgrade-h2c",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
    (
        "expect-with-body",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 65\r\n\r\nGET /s3proxy/s3/sky/smuggled.png HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ),
];

/// Valid, if unusual. Those named `two-` hold two requests.
pub(super) const MUST_WORK: Cases = &[
    ("plain", "GET {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("empty-line-first", "\r\nGET {P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("absolute-form", "GET http://a.test{P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    // The authority takes the place of `Host`: RFC 9112, section 3.2.2.
    ("absolute-other-host", "GET HTTP://B.test:80{P} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("absolute-1-0-without-host", "GET http://a.test{P} HTTP/1.0\r\n\r\n"),
    (
        "two-absolute",
        "GET http://a.test{P} HTTP/1.1\r\nHost: b.test\r\n\r\nGET http://c.test{P} HTTP/1.1\r\nHost: b.test\r\n\r\n",
    ),
    ("target-raw-in-query", "GET {P}?a=<b>\"`\\^{|} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("length-zero", "GET {P} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"),
    ("version-1-0-without-host", "GET {P} HTTP/1.0\r\n\r\n"),
    (
        "two-on-1-0",
        "GET {P} HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\nGET {P} HTTP/1.0\r\nHost: a.test\r\n\r\n",
    ),
    (
        "two-pipelined",
        "GET {P} HTTP/1.1\r\nHost: a.test\r\n\r\nGET {P} HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    ("host-port", "GET {P} HTTP/1.1\r\nHost: a.test:8080\r\n\r\n"),
    ("host-ipv6", "GET {P} HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n"),
    ("host-upper-case", "GET {P} HTTP/1.1\r\nHOST: A.TEST\r\n\r\n"),
    ("field-empty-value", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX-Empty:\r\nAccept: */*\r\n\r\n"),
    ("field-odd-spaces", "GET {P} HTTP/1.1\r\nHost:\t a.test \t\r\nX-A:b\r\n\r\n"),
    ("field-high-bytes", "GET {P} HTTP/1.1\r\nHost: a.test\r\nX-Name: caf\u{e9} \u{ff}\r\n\r\n"),
];
