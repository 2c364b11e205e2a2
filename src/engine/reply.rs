//! The answers of the engine.

use bytes::Bytes;
use fred::types::Resp3Frame;

use crate::engine::error::EngineError;
use crate::engine::{StreamEntry, StreamId};

/// An answer that is no error.
#[derive(Debug)]
pub(super) struct Reply(Resp3Frame);

impl Reply {
    /// An answer of the engine.
    ///
    /// # Errors
    /// It is an error.
    pub(super) fn of(frame: Resp3Frame) -> Result<Self, EngineError> {
        match &frame {
            Resp3Frame::SimpleError { data, .. } => Err(EngineError::of_answer(data)),
            Resp3Frame::BlobError { data, .. } => {
                Err(EngineError::of_answer(&String::from_utf8_lossy(data)))
            }
            _ => Ok(Self(frame)),
        }
    }

    /// A value, or none.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn bytes(self) -> Result<Option<Bytes>, EngineError> {
        match self.0 {
            Resp3Frame::Null => Ok(None),
            frame => bytes_of(frame).map(Some),
        }
    }

    /// A number; a missing one is 0.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn number(self) -> Result<i64, EngineError> {
        match self.0 {
            Resp3Frame::Number { data, .. } => Ok(data),
            Resp3Frame::Null => Ok(0),
            _ => Err(EngineError::Reply),
        }
    }

    /// A text, or a list of texts.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn texts(self) -> Result<Vec<String>, EngineError> {
        let items = match self.0 {
            Resp3Frame::Array { data, .. } => data,
            Resp3Frame::Map { data, .. } => data.into_iter().flat_map(|(k, v)| [k, v]).collect(),
            frame => vec![frame],
        };
        let text = |frame| {
            let bytes = bytes_of(frame)?;
            String::from_utf8(bytes.into()).map_err(|_| EngineError::Reply)
        };
        items.into_iter().map(text).collect()
    }

    /// Entries of a stream.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn entries(self) -> Result<Vec<StreamEntry>, EngineError> {
        let items = match self.0 {
            Resp3Frame::Array { data, .. } => data,
            Resp3Frame::Null => Vec::new(),
            _ => return Err(EngineError::Reply),
        };
        items.into_iter().map(entry_of).collect()
    }
}

fn entry_of(frame: Resp3Frame) -> Result<StreamEntry, EngineError> {
    let Resp3Frame::Array { data, .. } = frame else { return Err(EngineError::Reply) };
    let mut parts = data.into_iter();
    let (Some(id), Some(Resp3Frame::Array { data: fields, .. })) = (parts.next(), parts.next())
    else {
        return Err(EngineError::Reply);
    };
    let id = bytes_of(id)?;
    let id = std::str::from_utf8(&id).ok().and_then(StreamId::parse).ok_or(EngineError::Reply)?;
    let fields = fields.into_iter().map(bytes_of).collect::<Result<_, _>>()?;
    Ok(StreamEntry { id, fields })
}

fn bytes_of(frame: Resp3Frame) -> Result<Bytes, EngineError> {
    match frame {
        Resp3Frame::BlobString { data, .. }
        | Resp3Frame::SimpleString { data, .. }
        | Resp3Frame::VerbatimString { data, .. } => Ok(data),
        _ => Err(EngineError::Reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Resp3Frame {
        Resp3Frame::BlobString { data: Bytes::from_static(text.as_bytes()), attributes: None }
    }

    fn list(data: Vec<Resp3Frame>) -> Resp3Frame {
        Resp3Frame::Array { data, attributes: None }
    }

    fn reply(frame: Resp3Frame) -> Reply {
        Reply::of(frame).expect("no error")
    }

    #[test]
    fn answers_of_another_kind_are_errors_and_never_a_panic() {
        let error = Resp3Frame::SimpleError { data: "READONLY no".into(), attributes: None };
        assert_eq!(Reply::of(error).map(|_| ()), Err(EngineError::ReadOnly));
        assert_eq!(reply(Resp3Frame::Null).bytes(), Ok(None));
        assert_eq!(reply(text("a")).bytes(), Ok(Some(Bytes::from_static(b"a"))));
        assert_eq!(reply(list(Vec::new())).bytes(), Err(EngineError::Reply));
        assert_eq!(reply(text("1")).number(), Err(EngineError::Reply));
        assert_eq!(reply(text("1")).texts(), Ok(vec!["1".to_owned()]));
        assert_eq!(reply(list(vec![list(Vec::new())])).texts(), Err(EngineError::Reply));
        for wrong in [text("a"), list(vec![text("1-0")]), list(vec![text("x"), list(Vec::new())])] {
            assert_eq!(reply(list(vec![wrong])).entries(), Err(EngineError::Reply));
        }
        let entry = list(vec![text("5-1"), list(vec![text("k"), text("v")])]);
        let fields = vec![Bytes::from_static(b"k"), Bytes::from_static(b"v")];
        let expected = StreamEntry { id: StreamId(5, 1), fields };
        assert_eq!(reply(list(vec![entry])).entries(), Ok(vec![expected]));
    }
}
