//! What a store counts as stored, on the thread of the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fts_core::metrics::STORE_ROWS_TOTAL;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Remembers the sum of each counter of stored rows, by store and table.
#[derive(Default)]
pub(crate) struct Counted(Mutex<BTreeMap<String, Arc<Sum>>>);

#[derive(Default)]
struct Sum(Mutex<u64>);

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        *self.0.lock().expect("nobody panicked") += value;
    }

    fn absolute(&self, _: u64) {}
}

impl Counted {
    /// `elasticsearch/trades` and how many rows, in that order.
    pub(crate) fn rows(&self) -> Vec<(String, u64)> {
        let sums = self.0.lock().expect("nobody panicked");
        let sum = |sum: &Arc<Sum>| *sum.0.lock().expect("nobody panicked");
        sums.iter().map(|(name, it)| (name.clone(), sum(it))).collect()
    }
}

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() != STORE_ROWS_TOTAL {
            return Counter::noop();
        }
        let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
        let mut sums = self.0.lock().expect("nobody panicked");
        Counter::from_arc(Arc::clone(sums.entry(labels.join("/")).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
