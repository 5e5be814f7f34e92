//! `airflow.cfg`: each part has one of its own, which only the account can read.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{Shared, USER};
use crate::{error::Result, folder::Site, server::HOST};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes the settings, and the password of the web page.
pub(super) fn write(shared: &Shared, site: &Site, web_port: u16) -> Result<PathBuf> {
    let password = format!("{{\"{USER}\": \"{}\"}}\n", shared.keys.web_password.expose_secret());
    let passwords = site.write_run_file("passwords.json", &password)?;
    let keys = &shared.keys;
    let run = |name: &str| shared.run.join(name).display().to_string();
    let replaced = [
        ("{dags}", run("dags")),
        ("{plugins}", run("plugins")),
        ("{logs}", shared.logs.display().to_string()),
        ("{passwords}", passwords.display().to_string()),
        ("{user}", USER.to_owned()),
        ("{host}", HOST.to_owned()),
        ("{port}", web_port.to_string()),
        ("{database}", shared.database.url()),
        ("{fernet}", keys.fernet.expose_secret().to_owned()),
        ("{jwt}", keys.jwt.expose_secret().to_owned()),
        ("{api}", keys.api.expose_secret().to_owned()),
    ];
    let mut text = include_str!("../../../../airflow/airflow.cfg").to_owned();
    for (name, value) in replaced {
        // A percent sign has a meaning there.
        text = text.replace(name, &value.replace('%', "%%"));
    }
    site.write_run_file("airflow.cfg", &text)
}

/// A key of 32 bytes as Airflow wants it: the secret's digits in base64 for URLs.
pub(super) fn fernet_key(secret: &SecretString) -> SecretString {
    let mut text = String::new();
    for bytes in secret.expose_secret().as_bytes().chunks(3) {
        let number = bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - bytes.len()));
        for place in 0..4 {
            let digit = usize::try_from(number >> (18 - 6 * place) & 63).unwrap_or_default();
            text.push(if place <= bytes.len() { char::from(BASE64[digit]) } else { '=' });
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fernet_key_is_base64_of_32_bytes() {
        let key = fernet_key(&"0123456789abcdef0123456789abcdef".to_owned().into());
        assert_eq!(key.expose_secret(), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    }
}
