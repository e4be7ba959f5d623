//! The codecs of record batches: their ids and levels, compression of a whole body, and decompression as a stream.
//!
//! Framing is Kafka's: gzip members, snappy in xerial blocks, LZ4 frames of 64 KB independent blocks without checksums,
//! plain zstd frames. Reading accepts what Kafka's readers accept, raw snappy included.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;

use crate::RecordError;

/// A codec, as the low three bits of the attributes name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy, in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Compression {
    /// Every codec, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// By the id in the attributes.
    ///
    /// Errors: [`RecordError::UnknownCompression`] for ids that no codec has.
    pub fn from_id(id: u8) -> Result<Self, RecordError> {
        Self::ALL.get(usize::from(id)).copied().ok_or(RecordError::UnknownCompression(id))
    }

    /// By the name in configurations: `none`, `gzip`, `snappy`, `lz4`, `zstd`. (`compression.type` of a topic says
    /// `uncompressed` for none, and has `producer` besides.)
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The id in the attributes.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Kafka's default level; `None` where the codec has no levels.
    pub const fn default_level(self) -> Option<i32> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some(-1),
            Self::Lz4 => Some(9),
            Self::Zstd => Some(3),
        }
    }

    /// Whether `level` is in the range of `compression.<codec>.level` (KIP-390).
    pub const fn accepts_level(self, level: i32) -> bool {
        match self {
            Self::None | Self::Snappy => false,
            Self::Gzip => level == -1 || (level >= 1 && level <= 9),
            Self::Lz4 => level >= 1 && level <= 17,
            Self::Zstd => level >= -131_072 && level <= 22,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec and the level to compress with.
///
/// LZ4's levels 1 to 17 are accepted and have no effect: the encoder has one speed. Output is an ordinary LZ4 frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Codec {
    compression: Compression,
    level: Option<i32>,
}

impl Codec {
    /// No compression.
    pub const NONE: Self = Self { compression: Compression::None, level: None };

    /// `compression` at `level`, or [`RecordError::BadLevel`].
    pub fn new(compression: Compression, level: i32) -> Result<Self, RecordError> {
        if compression.accepts_level(level) {
            Ok(Self { compression, level: Some(level) })
        } else {
            Err(RecordError::BadLevel { compression, level })
        }
    }

    /// The codec.
    pub const fn compression(self) -> Compression {
        self.compression
    }

    /// The level, the default one if none was chosen; `None` where the codec has no levels.
    pub fn level(self) -> Option<i32> {
        self.level.or(self.compression.default_level())
    }

    /// Appends `plain`, compressed, to `out`. Errors: [`RecordError::Unbuildable`] when the codec refuses (the input is
    /// too large for it).
    pub fn compress(self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        match self.compression {
            Compression::None => {
                out.extend_from_slice(plain);
                Ok(())
            }
            Compression::Gzip => gzip::compress(plain, self.level().unwrap_or(-1), out),
            Compression::Snappy => snappy::compress(plain, out),
            Compression::Lz4 => lz4::compress(plain, out),
            Compression::Zstd => zstd::compress(plain, self.level().unwrap_or(3), out),
        }
    }
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Self { compression, level: None }
    }
}

/// Decompresses all of `input` (client telemetry, for one). Errors: [`RecordError::Decompression`], and
/// [`RecordError::DecompressedTooLarge`] beyond `max_bytes`.
pub fn decompress(compression: Compression, input: &[u8], max_bytes: usize) -> Result<Vec<u8>, RecordError> {
    let too_large = |need| RecordError::DecompressedTooLarge { need, limit: max_bytes };
    if compression == Compression::None {
        return if input.len() > max_bytes { Err(too_large(input.len())) } else { Ok(input.to_vec()) };
    }
    let mut decoder = Decoder::new(compression, input, 2)?;
    let mut out = Vec::new();
    while decoder.fill(&mut out)? {
        if out.len() > max_bytes {
            return Err(too_large(out.len()));
        }
    }
    Ok(out)
}

/// Decompression of one body, piece by piece.
pub(crate) enum Decoder<'a> {
    Gzip(gzip::Decoder<'a>),
    Snappy(snappy::Decoder<'a>),
    Lz4(lz4::Decoder<'a>),
    Zstd(zstd::Decoder<'a>),
}

impl<'a> Decoder<'a> {
    /// For `input`, which is not [`Compression::None`]. `magic` is that of the batch: LZ4 headers of magic 0 carry a
    /// wrong checksum, which is ignored.
    pub(crate) fn new(compression: Compression, input: &'a [u8], magic: i8) -> Result<Self, RecordError> {
        match compression {
            Compression::None => Err(RecordError::InvalidRecord("a body without codec is not decompressed")),
            Compression::Gzip => gzip::Decoder::new(input).map(Self::Gzip),
            Compression::Snappy => snappy::Decoder::new(input).map(Self::Snappy),
            Compression::Lz4 => lz4::Decoder::new(input, magic != 0).map(Self::Lz4),
            Compression::Zstd => Ok(Self::Zstd(zstd::Decoder::new(input))),
        }
    }

    /// Appends the next bytes, at most [`CHUNK`] or what one compressed block holds. False: the end, nothing appended.
    pub(crate) fn fill(&mut self, out: &mut Vec<u8>) -> Result<bool, RecordError> {
        match self {
            Self::Gzip(decoder) => decoder.fill(out),
            Self::Snappy(decoder) => decoder.fill(out),
            Self::Lz4(decoder) => decoder.fill(out),
            Self::Zstd(decoder) => decoder.fill(out),
        }
    }
}

/// Bytes that stream codecs decompress at a time.
const CHUNK: usize = 32 * 1024;

fn failed(compression: Compression, message: impl fmt::Display) -> RecordError {
    RecordError::Decompression { compression, message: message.to_string() }
}
