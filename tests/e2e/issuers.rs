//! Fakes of the places that issue credentials: STS, the endpoint of a container, the metadata of an instance.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A request with its body.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

type Answer = dyn Fn(&Call, usize) -> (u16, String) + Send + Sync;

/// A server that answers each request by a function of the request and of the number of those before it.
pub(crate) struct Issuer {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Issuer {
    pub(crate) fn start(
        answer: impl Fn(&Call, usize) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let (noted, answer) =
            (Arc::clone(&calls), Arc::<Answer>::from(Box::new(answer) as Box<Answer>));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &noted, &*answer));
            }
        });
        Self { url, calls }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(stream: TcpStream, noted: &Mutex<Vec<Call>>, answer: &Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let call = read(&mut reader)?;
        let before = {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.push(call.clone());
            noted.len() - 1
        };
        let (status, body) = answer(&call, before);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {length}\r\n\r\n{body}");
        writer.write_all(head.as_bytes()).ok()?;
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut line = || {
        let mut text = String::new();
        reader.read_line(&mut text).ok().filter(|length| *length > 0)?;
        Some(text.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut call = Call { method, path, headers, body: String::new() };
    let length = call.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    call.body = String::from_utf8(body).ok()?;
    Some(call)
}

/// The time so long from now in the form of AWS.
pub(crate) fn expiration(life: Duration) -> String {
    #[expect(clippy::disallowed_methods, reason = "credentials expire by the clock")]
    let expires = SystemTime::now() + life;
    // To the second, as AWS writes it, and no earlier.
    let seconds =
        expires.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64().ceil();
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds));
    let words: Vec<&str> = text.split(' ').collect();
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|month| *month == words[2]).expect("a month") + 1;
    format!("{}-{month:02}-{}T{}Z", words[3], words[1], words[4])
}

/// What STS answers with these credentials.
pub(crate) fn sts_answer(id: &str, secret: &str, life: Duration) -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>canary-token-of-{id}</SessionToken><Expiration>{}</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>",
        expiration(life)
    )
}

/// What the endpoint of a container and the metadata of an instance answer; `token` is the name of the session
/// token's field.
pub(crate) fn json_answer(id: &str, secret: &str, life: Duration, token: &str) -> String {
    serde_json::json!({
        "Version": 1,
        "Code": "Success",
        "AccessKeyId": id,
        "SecretAccessKey": secret,
        token: format!("canary-token-of-{id}"),
        "Expiration": expiration(life),
    })
    .to_string()
}
