//! The sections of tidemart.toml: any text is a configuration that can be checked, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(table) = text.parse::<toml::Table>() else { return };
    if let Ok(config) = table.clone().try_into::<tidemart_postgres::Config>() {
        drop(config.validate());
    }
    if let Ok(config) = table.clone().try_into::<tidemart_kafka::Config>() {
        drop(config.validate());
    }
    if let Ok(config) = table.try_into::<tidemart_mysql::Config>() {
        drop(config.validate());
    }
});
