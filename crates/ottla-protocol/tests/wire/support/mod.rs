//! What the tests over every message share: the schemas, random encodings made from them, and the codecs by name.
#![allow(dead_code, elided_lifetimes_in_paths)]

pub(crate) mod filler;
#[path = "../../../../../xtask/src/codegen/schema.rs"]
pub(crate) mod schema;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use ottla_protocol::wire::{DecodeError, Message, VersionRange, decode_shared};

/// What tests do with a message whose type they only know by name.
pub(crate) struct Codec {
    pub(crate) name: &'static str,
    pub(crate) versions: VersionRange,
    /// Decodes and encodes again.
    pub(crate) recode: fn(&[u8], i16) -> Result<Vec<u8>, String>,
    /// The same through the decoder that shares record data.
    pub(crate) recode_shared: fn(&Bytes, i16) -> Result<Vec<u8>, String>,
    /// Only decodes.
    pub(crate) check: fn(&[u8], i16) -> Result<(), DecodeError>,
    /// Encodes the default message.
    pub(crate) encode_default: fn(i16) -> Result<Vec<u8>, String>,
}

macro_rules! codecs {
    ($($name:ident)*) => {
        vec![$({
            use ottla_protocol::messages::$name;
            Codec {
                name: stringify!($name),
                versions: <$name as Message>::VERSIONS,
                recode: |bytes, version| {
                    let message = <$name as Message>::decode(bytes, version).map_err(|e| e.to_string())?;
                    encode(&message, version)
                },
                recode_shared: |bytes, version| {
                    let message: $name = decode_shared(bytes, version).map_err(|e| e.to_string())?;
                    encode(&message, version)
                },
                check: |bytes, version| <$name as Message>::decode(bytes, version).map(|_| ()),
                encode_default: |version| encode(&$name::default(), version),
            }
        }),*]
    };
}

/// Every message.
pub(crate) fn codecs() -> Vec<Codec> {
    ottla_protocol::for_each_message!(codecs)
}

fn encode<'a, M: Message<'a>>(message: &M, version: i16) -> Result<Vec<u8>, String> {
    let size = message.size(version).map_err(|e| e.to_string())?;
    let bytes = message.encode(version).map_err(|e| e.to_string())?;
    assert_eq!(size, bytes.len(), "{} version {version}: counted and written size", M::NAME);
    Ok(bytes)
}

/// Every message that has versions, with the name of its schema file.
pub(crate) fn schemas() -> Vec<(String, schema::Message)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema");
    let mut found = Vec::new();
    for dir in [dir.clone(), dir.join("api")] {
        for entry in fs::read_dir(&dir).expect("schema/ exists").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "schema") {
                let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let messages = schema::parse(&fs::read_to_string(&path).unwrap()).expect("schemas parse");
                found.extend(messages.into_iter().map(|message| (file.clone(), message)));
            }
        }
    }
    found.retain(|(_, message)| message.versions.is_some());
    found.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    found
}

/// Every message with its codec, and its versions with `samples` random encodings of each.
pub(crate) fn for_each_sample(samples: u64, mut test: impl FnMut(&Codec, i16, &[u8])) {
    let codecs = codecs();
    let schemas = schemas();
    assert_eq!(codecs.len(), schemas.len());
    for (codec, (_, schema)) in codecs.iter().zip(&schemas) {
        assert_eq!(codec.name, schema.name);
        for version in codec.versions.iter() {
            for seed in 0..samples {
                test(codec, version, &filler::encoding(schema, version, seed));
            }
        }
    }
}
