//! The files that the hub is started with, below a folder whose name is the server's mark.

use std::{collections::BTreeMap, path::PathBuf};

use secrecy::ExposeSecret;
use serde_json::json;

use super::{ADMIN, ANALYST, JupyterHub, Programs, Replica};
use crate::{
    embedded::{JUPYTERHUB_NOTEBOOKS, JUPYTERHUB_SANDBOX},
    error::{Error, Result},
    folder::Site,
    random,
};

const CONFIGURATION: &str = include_str!("../../../../jupyterhub/jupyterhub_config.py");

/// Writes them all anew and returns the configuration's path.
pub(super) fn write(hub: &JupyterHub, programs: &Programs, site: &Site) -> Result<PathBuf> {
    site.empty_run_folder(&site.mark)?;
    let below = |name: &str| format!("{}/{name}", site.mark);
    for (folder, files) in [("sandbox", JUPYTERHUB_SANDBOX), ("sandbox/notebooks", JUPYTERHUB_NOTEBOOKS)] {
        for (name, text) in files {
            site.write_run_file(&below(&format!("{folder}/{name}")), text)?;
        }
    }
    site.write_run_file(&below("sandbox/settings.json"), &notebooks(hub))?;
    site.write_run_file(&below("sandbox/tidemart.toml"), &program(hub))?;
    site.write_run_file(&below("settings.json"), &settings(hub, programs, site)?)?;
    site.write_run_file(&below("jupyterhub_config.py"), CONFIGURATION)
}

/// What the notebooks know; every user sees it.
fn notebooks(hub: &JupyterHub) -> String {
    let replica = hub.replica.as_ref().map(|replica| {
        json!({
            "host": "127.0.0.1",
            "port": replica.port,
            "user": replica.user,
            "password": replica.password.expose_secret(),
            "database": replica.database,
        })
    });
    let spark = hub.spark.as_ref().map(|spark| {
        let token = spark.token.as_ref().map(|token| format!("/;token={}", token.expose_secret()));
        // With a token the client wants TLS, but for this name.
        format!("sc://localhost:{}{}", spark.port, token.unwrap_or_default())
    });
    json!({ "replica": replica, "spark": spark }).to_string()
}

/// What our own program knows in a user's terminal.
fn program(hub: &JupyterHub) -> String {
    let Some(Replica { port, database, user, password }) = &hub.replica else { return String::new() };
    let password = password.expose_secret();
    // JSON's texts are TOML's, too.
    let [database, user, password] = [database.as_str(), user, password].map(|text| json!(text));
    format!(
        "[mysql]\nhost = \"127.0.0.1\"\nport = {port}\nuser = {user}\npassword = {password}\ndatabase = {database}\n"
    )
}

/// What the hub knows.
fn settings(hub: &JupyterHub, programs: &Programs, site: &Site) -> Result<String> {
    let [port, hub_port, proxy_port] = site.ports[..] else {
        return Err(Error::Setting { name: "ports", reason: "jupyterhub needs three".to_owned() });
    };
    let mut reach = BTreeMap::from([("hub", hub_port)]);
    reach.extend(hub.replica.as_ref().map(|replica| ("replica", replica.port)));
    reach.extend(hub.spark.as_ref().map(|spark| ("spark", spark.port)));
    let passwords = BTreeMap::from([
        (ANALYST, site.owner_password.expose_secret()),
        (ADMIN, site.admin_password.expose_secret()),
    ]);
    let settings = json!({
        "port": port,
        "proxy_port": proxy_port,
        "proxy": [&programs.node, &programs.proxy],
        "proxy_token": random::hex::<32>()?,
        "environment": &programs.environment,
        "bwrap": programs.walls.path(),
        "data": &site.data,
        "memory_mb": hub.memory_mb,
        "passwords": passwords,
        "reach": reach,
        "tidemart": &programs.tidemart,
    });
    Ok(settings.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_by_hash_and_no_registry_is_named() {
        for line in super::super::LOCK.text.lines().filter(|line| line.contains("==")) {
            assert!(line.ends_with('\\'), "{line}");
        }
        let lock: serde_json::Value = serde_json::from_str(super::super::PROXY.lock).unwrap();
        for (name, package) in
            lock["packages"].as_object().unwrap().iter().filter(|(name, _)| !name.is_empty())
        {
            assert!(package["integrity"].is_string() && package["resolved"].is_null(), "{name}");
        }
    }

    #[test]
    fn the_sandbox_and_the_notebooks_are_compiled_in() {
        for file in ["inside.py", "relay.py", "memory.py", "etc/jupyter/jupyter_server_config.json"] {
            assert!(JUPYTERHUB_SANDBOX.iter().any(|(name, _)| *name == file), "{file}");
        }
        let notebooks = JUPYTERHUB_NOTEBOOKS.iter().filter(|(name, _)| name.ends_with(".ipynb"));
        for (name, text) in notebooks {
            let notebook: serde_json::Value = serde_json::from_str(text).unwrap();
            let cells = notebook["cells"].as_array().unwrap();
            let ran = |cell: &&serde_json::Value| !cell["outputs"].as_array().is_none_or(Vec::is_empty);
            assert!(!cells.iter().any(|cell| ran(&cell)), "{name} has outputs of somebody's data");
        }
    }
}
