//! The part of OTLP's metrics that clients push: names with numbers. Fields that are not needed are passed over.

use prost::Message;

/// `opentelemetry.proto.metrics.v1.MetricsData`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetricsData {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "5")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    sum: Option<Sum>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<NumberDataPoint>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<NumberDataPoint>,
    /// 1 for what came since the last push.
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct NumberDataPoint {
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
    #[prost(double, optional, tag = "4")]
    as_double: Option<f64>,
    #[prost(sfixed64, optional, tag = "6")]
    as_int: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    string_value: Option<String>,
    #[prost(bool, optional, tag = "2")]
    bool_value: Option<bool>,
    #[prost(int64, optional, tag = "3")]
    int_value: Option<i64>,
    #[prost(double, optional, tag = "4")]
    double_value: Option<f64>,
}

/// One number of a client.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    /// The metric's name.
    pub(super) name: String,
    /// Its attributes as `key=value,…`, sorted.
    pub(super) attributes: String,
    /// The number.
    pub(super) value: f64,
    /// Whether it counts what came since the last push.
    pub(super) is_delta: bool,
}

impl MetricsData {
    /// Gauges and sums; histograms have no single number.
    pub(super) fn into_points(self) -> impl Iterator<Item = Point> {
        let scopes = self.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        scopes.flat_map(|scope| scope.metrics).flat_map(|metric| {
            let Metric { name, gauge, sum } = metric;
            let is_delta = sum.as_ref().is_some_and(|sum| sum.aggregation_temporality == 1);
            let gauges = gauge.map(|gauge| gauge.data_points).unwrap_or_default();
            let sums = sum.map(|sum| sum.data_points).unwrap_or_default();
            let gauges = gauges.into_iter().map(|point| (point, false));
            let sums = sums.into_iter().map(move |point| (point, is_delta));
            gauges.chain(sums).filter_map(move |(point, is_delta)| {
                let value = point.number()?;
                Some(Point { name: name.clone(), attributes: point.attributes(), value, is_delta })
            })
        })
    }
}

impl NumberDataPoint {
    #[expect(clippy::cast_precision_loss, reason = "metrics are shown as floating point numbers")]
    fn number(&self) -> Option<f64> {
        self.as_double.or(self.as_int.map(|value| value as f64)).filter(|value| value.is_finite())
    }

    fn attributes(&self) -> String {
        let mut pairs: Vec<String> = self
            .attributes
            .iter()
            .map(|pair| {
                format!("{}={}", pair.key, pair.value.as_ref().map(AnyValue::shown).unwrap_or_default())
            })
            .collect();
        pairs.sort_unstable();
        pairs.join(",")
    }
}

impl AnyValue {
    fn shown(&self) -> String {
        let text = self.string_value.clone();
        text.or_else(|| self.bool_value.map(|value| value.to_string()))
            .or_else(|| self.int_value.map(|value| value.to_string()))
            .or_else(|| self.double_value.map(|value| value.to_string()))
            .unwrap_or_default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a client with one gauge and one sum would push.
    pub(in crate::telemetry) fn pushed(gauge: f64, delta: i64) -> Vec<u8> {
        let attribute = KeyValue {
            key: "node".into(),
            value: Some(AnyValue { int_value: Some(1), ..AnyValue::default() }),
        };
        let point =
            |as_double, as_int| NumberDataPoint { attributes: vec![attribute.clone()], as_double, as_int };
        let metrics = vec![
            Metric {
                name: "latency".into(),
                gauge: Some(Gauge { data_points: vec![point(Some(gauge), None)] }),
                sum: None,
            },
            Metric {
                name: "records".into(),
                gauge: None,
                sum: Some(Sum { data_points: vec![point(None, Some(delta))], aggregation_temporality: 1 }),
            },
        ];
        let scope_metrics = vec![ScopeMetrics { metrics }];
        MetricsData { resource_metrics: vec![ResourceMetrics { scope_metrics }] }.encode_to_vec()
    }

    #[test]
    fn numbers_come_out_with_their_names() {
        let data = MetricsData::decode(pushed(1.5, 3).as_slice()).unwrap();
        let points: Vec<Point> = data.into_points().collect();
        let expected = [("latency", 1.5, false), ("records", 3.0, true)].map(|(name, value, is_delta)| {
            Point { name: name.into(), attributes: "node=1".into(), value, is_delta }
        });
        assert_eq!(points, expected);
    }

    #[test]
    fn rubbish_is_refused_and_nothing_is_nothing() {
        assert!(MetricsData::decode(&[0xff; 40][..]).is_err());
        assert_eq!(MetricsData::decode(&[][..]).unwrap().into_points().count(), 0);
        let cut = pushed(1.0, 1);
        for len in 1..cut.len() {
            // Never more than an error.
            _ = MetricsData::decode(&cut[..len]);
        }
    }
}
