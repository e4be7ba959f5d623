//! Runs a node from `key=value` arguments; for trying the library out.
use ottla_broker::Node;
use ottla_config::{BrokerConfig, Sources, parse_override};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let overrides: Vec<_> =
        std::env::args().skip(1).filter(|a| a.contains('=')).map(|a| parse_override(&a).unwrap()).collect();
    let (config, _) = BrokerConfig::load(Sources { properties: None, overrides: &overrides }).unwrap();
    let node = Node::start(config, || std::process::exit(1)).await?;
    println!("{:#?}", node.started());
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = term.recv() => {} }
    node.stop().await
}
