//! What is denied while calls go on: by the operator, and by a script that reads the log of an intrusion detection system.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use crate::line::{End, Line};
use crate::observer::Way;
use crate::phone::Answer;
use crate::raw::header;
use crate::script::{Part, SDP, Script, Sipp};
use crate::talks::{Make, uri};
use crate::world::{CONFIG, Named, OUTSIDE, Outcome, Postern, World, text};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("deny::an_alert_of_suricata_ends_the_call_and_keeps_the_next_one_out", alert),
        ("deny::what_is_denied_is_listed_and_lifted", listed),
    ]
}

/// The example as it is shipped.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/suricata-deny.py");

/// Two lines as Suricata 7 writes them: a flow record, which is no alert, and an alert.
const EVE: &str = concat!(
    r#"{"timestamp":"2026-12-01T06:00:00.000001+0000","flow_id":1,"event_type":"flow","src_ip":"10.0.40.20","src_port":5060,"dest_ip":"198.51.100.20","dest_port":5060,"proto":"UDP","flow":{"pkts_toserver":1,"state":"new"}}"#,
    "\n",
    r#"{"timestamp":"2026-12-01T06:00:01.000001+0000","flow_id":2,"in_iface":"outside0","event_type":"alert","src_ip":"198.51.100.20","src_port":5060,"dest_ip":"198.51.100.1","dest_port":5060,"proto":"UDP","alert":{"action":"allowed","gid":1,"signature_id":2009699,"rev":1,"signature":"ET VOIP REGISTER Message Flood UDP","category":"Attempted Denial of Service","severity":2}}"#,
    "\n",
);

/// Feeds the script.
fn suricata(world: &World, postern: &Postern<'_>, eve: &str) -> io::Result<String> {
    let config = postern.file.display().to_string();
    let mut script = world.firewall.spawn(
        Command::new("python3")
            .args([SCRIPT, "--for", "5m", "--", env!("CARGO_BIN_EXE_postern"), "--config", &config])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )?;
    let mut stdin = script.stdin.take().ok_or_else(|| io::Error::other("no stdin"))?;
    stdin.write_all(eve.as_bytes())?;
    drop(stdin);
    text(script.wait_with_output()?)
}

/// Alert, deny, ARE, BYE with a reason to both; the next call is refused, until it is lifted.
fn alert() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    let callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    let used = line.used()?;
    let said = suricata(&world, &postern, EVE)?;
    assert!(said.contains("198.51.100.20: ET VOIP"), "{said}");
    // The command returns when the kernel has closed what is denied.
    assert_eq!(line.passes(&used)?, 0, "packets that pass after the alert");
    for end in [End::Outside, End::Inside] {
        line.until(end, Way::Heard, "BYE")?;
        let bye = &line.messages(end, Way::Heard, "BYE")?[0];
        let reason = header(bye, "Reason");
        assert_eq!(reason, "SIP;cause=500;text=\"firewall temporarily closed\"", "in {bye}");
    }
    drop((caller, callee));
    line.is_over()?;
    let refused = Script::new().invite("", SDP).refused(500);
    let _callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    let again = Sipp::start(&world, End::Outside, refused, Part::Caller)?;
    again.finish(&line)?;
    let refusal = &line.messages(End::Outside, Way::Heard, "500 INVITE")?[0];
    assert!(header(refusal, "Warning").contains("firewall temporarily closed"), "{refusal}");
    postern.text(&["deny", "--lift", OUTSIDE])?;
    line.is_over()?;
    Ok(())
}

fn listed() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let denied = postern.json(&["deny", "198.51.100.0/24", "10.0.40.20:20000-20001", "--for", "2h"])?;
    assert_eq!(denied["inside"], "udp 10.0.40.20:20000-20001", "{denied}");
    assert_eq!(denied["outside"], "udp 198.51.100.0/24:*", "{denied}");
    postern.text(&["deny", "2001:db8:a::20"])?;
    let list = postern.text(&["deny", "--list"])?;
    assert!(list.contains("operator") && list.contains("any ::/0:*"), "{list}");
    // What is denied is no pinhole.
    assert_eq!(postern.pinholes()?, (0, 0));
    for wrong in [["10.0.40.20", "10.0.40.21"], ["192.0.2.1", "198.51.100.1"], ["198.51.100.20", "::1"]] {
        assert!(postern.text(&["deny", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
    }
    assert!(postern.text(&["deny", "--lift", "198.51.100.0/24"]).is_err(), "something else was denied");
    postern.text(&["deny", "--lift", "198.51.100.0/24", "10.0.40.20:20000-20001"])?;
    let pid = postern.json(&["deny", "--list"])?["denials"][0]["pid"].to_string();
    postern.text(&["deny", "--lift", &pid])?;
    postern
        .wait_for("nothing is denied", || Ok(postern.text(&["deny", "--list"])? == "nothing is denied\n"))?;
    Ok(())
}
