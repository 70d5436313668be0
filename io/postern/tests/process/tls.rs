//! What `postern check` says of the files of TLS: the line of the configuration, the file, what is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use certificates::{Ca, Leaf};

use crate::subject::{CONFIG, Named, Outcome, Place};

pub(crate) const TRIALS: &[Named] = &[
    ("files_of_tls_are_looked_at", files_of_tls_are_looked_at),
    ("a_middlebox_half_without_its_certificate_does_not_start", without_a_certificate),
];

fn files_of_tls_are_looked_at() -> Outcome {
    let place = Place::new()?;
    let folder = place.folder.display().to_string();
    let (ca, other) = (Ca::new("site"), Ca::new("another"));
    let (good, second) = (ca.sign(&Leaf::valid()), other.sign(&Leaf::valid()));
    let soon = Leaf { not_after: certificates::now() + 5 * certificates::DAY + 60, ..Leaf::valid() };
    let tls = format!(
        "\n[middlebox]\nconnect = \"tls:127.0.0.1:9\"\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\nca = \"{folder}/ca.pem\"\n"
    );
    let config = format!("user = \"nobody\"\n{CONFIG}{tls}");
    let file = place.write(&config)?.display().to_string();
    let line = |key: &str| {
        let written = fs::read_to_string(&file).unwrap_or_default();
        written.lines().position(|line| line.starts_with(key)).map_or(0, |before| before + 1)
    };
    let put = |name: &str, content: &str| fs::write(place.folder.join(name), content);
    let says = |wanted: &str| {
        let output = place.command(&["check", &file])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
        Ok::<_, std::io::Error>(())
    };
    put("ca.pem", &ca.certificate)?;
    put("key.pem", &good.key)?;
    says(&format!("PROBLEM     {file}:{}: {folder}/cert.pem: no such file", line("certificate")))?;
    put("cert.pem", "not a certificate\n")?;
    says(&format!("PROBLEM     {file}:{}: {folder}/cert.pem: no certificate in PEM", line("certificate")))?;
    put("cert.pem", &good.certificate.replace("MII", "!!!"))?;
    says(&format!("{folder}/cert.pem: not PEM: "))?;
    put("cert.pem", &second.certificate)?;
    says(&format!(
        "PROBLEM     {file}:{}: {folder}/key.pem: this key is not that of the certificate in {folder}/cert.pem",
        line("key")
    ))?;
    put("cert.pem", &ca.sign(&Leaf::expired()).certificate)?;
    says("this key is not that of the certificate")?;
    for (leaf, wanted) in [
        (&Leaf::expired(), "cert.pem: the certificate expired on "),
        (&soon, "cert.pem: the certificate expires in 5 days"),
        (&Leaf::valid(), "cert.pem of leaf is valid until "),
    ] {
        let signed = ca.sign(leaf);
        put("cert.pem", &signed.certificate)?;
        put("key.pem", &signed.key)?;
        says(wanted)?;
    }
    put("key.pem", &good.certificate)?;
    says(&format!("{folder}/key.pem: no private key in PEM"))?;
    put("key.pem", &good.key)?;
    fs::set_permissions(place.folder.join("key.pem"), fs::Permissions::from_mode(0o600))?;
    // In a user namespace of our own there is no other user who could not read it.
    if fs::read_to_string("/proc/self/uid_map")?.split_whitespace().nth(2) == Some("4294967295") {
        says(&format!("{file}:{}: {folder}/key.pem may not be read by the agent half", line("key")))?;
    }
    Ok(())
}

fn without_a_certificate() -> Outcome {
    let place = Place::new()?;
    let folder = place.folder.display().to_string();
    let tls = format!(
        "\n[middlebox]\nlisten = [\"tls:127.0.0.1\"]\ncertificate = \"{folder}/none.pem\"\nkey = \"{folder}/none.key\"\nclient-ca = \"{folder}/ca.pem\"\n\
         [middlebox.agent.border]\ncertificates = [\"border.example.net\"]\n"
    );
    let file = place.write(&format!("{CONFIG}{tls}"))?.display().to_string();
    let output = place.command(&["middlebox", &file])?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("{folder}/none.pem: no such file")), "{said}");
    Ok(())
}
