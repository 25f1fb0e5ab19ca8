//! A certificate authority for tests, and certificates of it for 127.0.0.1 and localhost.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{needed, quietly};

/// Makes, in `folder`: ca.pem; server.key and server.pem; client.key and client.pem; and bundle.pem,
/// the server's key and chain in one.
pub(super) fn make(folder: &Path) -> Result<()> {
    let openssl = needed("openssl", "the package openssl")?;
    fs::create_dir_all(folder)?;
    let run = |arguments: &str| {
        quietly(Command::new(&openssl).current_dir(folder).args(arguments.split(' ')))
    };
    run(
        "req -x509 -newkey rsa:2048 -nodes -days 825 -subj /CN=fts-stack -keyout ca.key -out ca.pem \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign",
    )?;
    for name in ["server", "client"] {
        fs::write(
            folder.join(format!("{name}.ext")),
            "basicConstraints=CA:FALSE\n\
             subjectAltName=DNS:localhost,IP:127.0.0.1\n\
             extendedKeyUsage=serverAuth,clientAuth\n\
             keyUsage=digitalSignature,keyEncipherment\n",
        )?;
        run(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ))?;
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 \
             -extfile {name}.ext -out {name}.pem"
        ))?;
    }
    let read = |name: &str| fs::read_to_string(folder.join(name));
    let bundle = [read("server.key")?, read("server.pem")?, read("ca.pem")?].concat();
    fs::write(folder.join("bundle.pem"), bundle)?;
    Ok(())
}
