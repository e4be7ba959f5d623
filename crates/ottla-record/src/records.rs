//! The records of a batch, one at a time.

use crate::cursor::Cursor;
use crate::legacy::{self, InnerMessages};
use crate::record::{BAD_STRUCTURE, MAX_VARINT_LEN, RecordBase, read_body};
use crate::stream::Stream;
use crate::{BatchView, Limits, RecordError, RecordView};

impl<'a> BatchView<'a> {
    /// The records, decompressed with Kafka's default [`Limits`].
    ///
    /// Errors: [`RecordError::UnknownCompression`], [`RecordError::Decompression`], [`RecordError::InvalidRecord`].
    pub fn records(&self) -> Result<Records<'a>, RecordError> {
        self.records_within(Limits::DEFAULT)
    }

    /// The records, decompressed within `limits`. Errors as [`records`](Self::records).
    pub fn records_within(&self, limits: Limits) -> Result<Records<'a>, RecordError> {
        Records::new(self, limits)
    }
}

/// Reads the records of a batch of any magic, as many as its header claims, and checks that the bytes end with them.
///
/// Not an [`Iterator`], because a record of a compressed batch is lent from the window it was decompressed into:
///
/// ```
/// # use ottla_record::{BatchBuilder, BatchView};
/// # let mut builder = BatchBuilder::new();
/// # builder.append(0, None, Some(b"value"), &[])?;
/// # let bytes = builder.build()?;
/// let (batch, _) = BatchView::parse(&bytes)?;
/// let mut records = batch.records()?;
/// while let Some(record) = records.try_next()? {
///     println!("{}: {:?}", record.offset, record.value);
/// }
/// # Ok::<_, ottla_record::RecordError>(())
/// ```
///
/// Checksums are not verified here; see [`BatchView::verify_crc`].
pub struct Records<'a> {
    source: Source<'a>,
    base: RecordBase,
    /// Records not yet read.
    left: i32,
    max_record_bytes: usize,
}

enum Source<'a> {
    Plain(Cursor<'a>),
    Compressed(Box<Stream<'a>>),
    Message(RecordView<'a>),
    Messages(Box<InnerMessages<'a>>),
}

/// Where the next record is.
enum Step<'a> {
    View(RecordView<'a>),
    /// Inside the message; it counts its own.
    Nested,
    /// In the window of the stream, after a length field of `prefix` bytes.
    Window {
        prefix: usize,
        body: usize,
    },
}

pub(crate) const REMAINING: RecordError =
    RecordError::InvalidRecord("Incorrect declared batch size, records still remaining in file");
const NEGATIVE_COUNT: RecordError = RecordError::InvalidRecord("Found invalid record count: it is negative");

impl<'a> Records<'a> {
    fn new(batch: &BatchView<'a>, limits: Limits) -> Result<Self, RecordError> {
        let left = batch.record_count();
        if left < 0 {
            return Err(NEGATIVE_COUNT);
        }
        let source = match (batch.magic(), batch.attributes().is_compressed() && left > 0) {
            (2, false) => Source::Plain(Cursor::new(batch.body())),
            (2, true) => Source::Compressed(Box::new(Stream::of_batch(batch, limits)?)),
            (_, false) => Source::Message(legacy::message(batch)?),
            (_, true) => Source::Messages(Box::new(InnerMessages::new(batch, limits)?)),
        };
        Ok(Self { source, base: RecordBase::of(batch), left, max_record_bytes: limits.max_record_bytes })
    }

    /// The next record, or `None` after the last. After an error there are no more.
    pub fn try_next(&mut self) -> Result<Option<RecordView<'_>>, RecordError> {
        if self.left == 0 {
            return Ok(None);
        }
        let step = match self.advance() {
            Ok(step) => step,
            Err(error) => {
                self.left = 0;
                return Err(error);
            }
        };
        match (step, &mut self.source) {
            (Step::View(record), _) => {
                self.left -= 1;
                Ok(Some(record))
            }
            (Step::Window { prefix, body }, Source::Compressed(stream)) => {
                stream.consume(prefix);
                let record = read_body(stream.take(body), prefix + body, &self.base);
                self.left = if record.is_ok() { self.left - 1 } else { 0 };
                record.map(Some)
            }
            (_, Source::Messages(messages)) => messages.try_next(),
            _ => unreachable!("only a stream has a window"),
        }
    }

    fn advance(&mut self) -> Result<Step<'a>, RecordError> {
        let last = self.left == 1;
        match &mut self.source {
            Source::Plain(cursor) => {
                let (body, size) = plain_body(cursor)?;
                let record = read_body(body, size, &self.base)?;
                if last && !cursor.is_empty() {
                    return Err(REMAINING);
                }
                Ok(Step::View(record))
            }
            Source::Compressed(stream) => {
                let (prefix, body) = peek_length(stream, self.max_record_bytes)?;
                if !stream.ensure(prefix + body)? {
                    return Err(CUT);
                }
                if last && stream.ensure(prefix + body + 1)? {
                    return Err(REMAINING);
                }
                Ok(Step::Window { prefix, body })
            }
            Source::Message(record) => Ok(Step::View(*record)),
            Source::Messages(_) => Ok(Step::Nested),
        }
    }
}

pub(crate) const CUT: RecordError =
    RecordError::InvalidRecord("Invalid record size: the record payload reached EOF before its end");

/// Takes the body of the next record of an uncompressed batch; with it, the size of the record.
#[inline]
pub(crate) fn plain_body<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], usize), RecordError> {
    let before = cursor.rest().len();
    let body = usize::try_from(cursor.varint().ok_or(BAD_STRUCTURE)?).map_err(|_| NEGATIVE_SIZE)?;
    let body = cursor.take(body).ok_or(CUT)?;
    Ok((body, before - cursor.rest().len()))
}

const NEGATIVE_SIZE: RecordError = RecordError::InvalidRecord("Invalid record size: it is negative");

/// Reads the length field of the next record of a stream without consuming it: its own length, and its value.
pub(crate) fn peek_length(stream: &mut Stream<'_>, max: usize) -> Result<(usize, usize), RecordError> {
    stream.ensure(MAX_VARINT_LEN)?;
    let mut cursor = Cursor::new(stream.buffered());
    let before = cursor.rest().len();
    let body = cursor.varint().ok_or(BAD_STRUCTURE)?;
    let prefix = before - cursor.rest().len();
    let body = usize::try_from(body).map_err(|_| NEGATIVE_SIZE)?;
    if body > max {
        return Err(RecordError::DecompressedTooLarge { need: body, limit: max });
    }
    Ok((prefix, body))
}
