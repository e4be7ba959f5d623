//! As much HTTP as Kafka Connect's REST interface needs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Sends a request to `localhost:port` and returns the JSON of its answer, or null when it has none.
pub(super) fn call(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(("localhost", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the end of the headers")?;
    let status = head.split_whitespace().nth(1).context("a status")?;
    if !status.starts_with('2') {
        bail!("{method} {path} answers {status}: {body}");
    }
    Ok(serde_json::from_str(body).unwrap_or(Value::Null))
}
