//! One partition replica: log, high watermark, parked waits.
