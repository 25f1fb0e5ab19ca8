//! The daily prices as a CSV file: `fecha, apertura, cierre, volumen` as they have always been, and
//! behind them the symbol.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use fts_core::market::Symbol;
use fts_core::port::report::DailyReport;
use fts_core::stock::Daily;

const HEADER: [&str; 5] = ["fecha", "apertura", "cierre", "volumen", "symbol"];

/// A CSV file.
#[derive(Debug)]
pub struct DailyCsv {
    path: PathBuf,
    writing: Mutex<()>,
}

impl DailyCsv {
    /// The file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path, writing: Mutex::new(()) }
    }

    /// By symbol and date. Rows that this program did not write are kept as far as they have the
    /// five columns.
    fn read(&self) -> Result<BTreeMap<(String, String), [String; 3]>, String> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.failed(&error)),
        };
        let mut rows = BTreeMap::new();
        for row in csv::Reader::from_reader(file).into_records() {
            let row = row.map_err(|error| {
                format!("{} is damaged ({error}): move it away", self.path.display())
            })?;
            let column = |index: usize| row.get(index).unwrap_or_default().to_owned();
            rows.insert((column(4), column(0)), [column(1), column(2), column(3)]);
        }
        Ok(rows)
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> String {
        format!("cannot write {}: {error}", self.path.display())
    }
}

impl DailyReport for DailyCsv {
    fn put(&self, symbol: &Symbol, days: &[Daily]) -> Result<(), String> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = self.read()?;
        for day in days {
            let key = (symbol.to_string(), day.date.to_string());
            let values = [day.open.to_string(), day.close.to_string(), day.volume.to_string()];
            rows.insert(key, values);
        }
        let mut beside = self.path.clone().into_os_string();
        beside.push(".partial");
        let beside = PathBuf::from(beside);
        let mut writer = csv::Writer::from_path(&beside).map_err(|error| self.failed(&error))?;
        writer.write_record(HEADER).map_err(|error| self.failed(&error))?;
        for ((symbol, date), [open, close, volume]) in rows {
            let row = [date, open, close, volume, symbol];
            writer.write_record(row).map_err(|error| self.failed(&error))?;
        }
        let mut file = writer.into_inner().map_err(|error| self.failed(&error))?;
        file.flush().and_then(|()| file.sync_all()).map_err(|error| self.failed(&error))?;
        fs::rename(&beside, &self.path).map_err(|error| self.failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str, close: &str) -> Daily {
        let price = "10.5".parse().unwrap();
        let close = close.parse().unwrap();
        let date = date.parse().unwrap();
        Daily { date, open: price, high: close, low: price, close, volume: 7, fetched_at: 0 }
    }

    #[test]
    fn a_restated_day_takes_the_place_of_the_old_one_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Datos_financieros.csv");
        let [tsla, ibm] = ["TSLA", "IBM"].map(|it| Symbol::new(it).unwrap());
        let csv = DailyCsv::new(path.clone());
        csv.put(&tsla, &[day("2024-12-31", "11"), day("2025-01-02", "12")]).unwrap();
        csv.put(&ibm, &[day("2024-12-31", "99")]).unwrap();
        DailyCsv::new(path.clone()).put(&tsla, &[day("2024-12-31", "13")]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "fecha,apertura,cierre,volumen,symbol\n\
             2024-12-31,10.50000000,99.00000000,7,IBM\n\
             2024-12-31,10.50000000,13.00000000,7,TSLA\n\
             2025-01-02,10.50000000,12.00000000,7,TSLA\n"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half written is left");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let csv = DailyCsv::new(PathBuf::from("/nowhere/at/all.csv"));
        let error = csv.put(&Symbol::new("TSLA").unwrap(), &[]).unwrap_err();
        assert!(error.contains("/nowhere/at/all.csv"), "{error}");
    }
}
