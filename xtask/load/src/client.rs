//! What all clients are configured with.

use anyhow::{Context as _, Result};
use clap::Args;
use rdkafka::ClientConfig;

/// Where to connect, and further settings of librdkafka.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// Address of the server
    #[arg(long)]
    bootstrap: String,
    /// A setting of librdkafka, `key=value`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl Target {
    /// A configuration that later settings of the command line override.
    pub(crate) fn config(&self, own: &[(&str, &str)]) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("broker.address.family", "v4");
        // With one broker there is nothing to bootstrap again from; librdkafka would drop the only one.
        config.set("metadata.recovery.strategy", "none");
        for (key, value) in own {
            config.set(*key, *value);
        }
        for setting in &self.settings {
            let (key, value) =
                setting.split_once('=').with_context(|| format!("no '=' in --set {setting}"))?;
            config.set(key, value);
        }
        Ok(config)
    }
}

/// What is sent: capital letters without a pattern, as ProducerPerformance's records, from a fixed seed. Compressible by about
/// two fifths.
pub(crate) fn payload(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'A' + (state % 26) as u8
    };
    std::iter::repeat_with(letter).take(bytes).collect()
}
