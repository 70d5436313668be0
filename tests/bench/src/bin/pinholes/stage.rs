//! Outside – firewall – inside, with the middlebox half on the firewall.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use certificates::{Ca, Leaf};
use netns::Host;

/// How long the middlebox may take to start, with a million elements before it.
const PATIENCE: Duration = Duration::from_secs(200);

const CONFIG: &str = r#"
user = "nobody"
log = "error"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]
[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.0.0/8"]
[middlebox]
listen = ["127.0.0.1:7626", "tls:127.0.0.1:7627"]
certificate = "FOLDER/middlebox.pem"
key = "FOLDER/middlebox.key"
client-ca = "FOLDER/ca.pem"
peers = ["127.0.0.2", "127.0.0.3"]
max-rules = 1_048_576
MORE
[middlebox.agent.bench]
certificates = ["bench.example.net"]
"#;

pub(crate) struct Stage {
    pub(crate) outside: Host,
    pub(crate) firewall: Host,
    pub(crate) inside: Host,
    middlebox: Child,
    folder: PathBuf,
    /// For agents over TLS.
    pub(crate) ca: Ca,
}

impl Stage {
    pub(crate) fn new() -> io::Result<Self> {
        Self::with("")
    }

    /// With more lines of `[middlebox]`; `FOLDER` in them is a folder of this run.
    pub(crate) fn with(more: &str) -> io::Result<Self> {
        let [outside, firewall, inside] =
            [Host::new("outside")?, Host::new("firewall")?, Host::new("inside")?];
        for (host, cable, border, address) in [
            (&outside, "outside0", "198.51.100.1/24", "198.51.100.20/24"),
            (&inside, "inside0", "10.0.40.1/24", "10.0.40.20/24"),
        ] {
            let net = |text: &str| text.parse::<ipnet::IpNet>().map_err(io::Error::other);
            host.cable("eth0", &firewall, cable)?;
            host.address("eth0", net(address)?)?;
            firewall.address(cable, net(border)?)?;
            host.route(net("0.0.0.0/0")?, net(border)?.addr())?;
        }
        firewall.forward()?;
        let folder = std::env::temp_dir().join(format!("postern-pinholes-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let shown = folder.display().to_string();
        let text = format!("run-dir = {shown:?}\n{}", CONFIG.replace("MORE", more).replace("FOLDER", &shown));
        fs::write(folder.join("postern.toml"), text)?;
        let ca = Ca::new("bench");
        let own = ca.sign(&Leaf { names: &["127.0.0.1"], ..Leaf::valid() });
        fs::write(folder.join("ca.pem"), &ca.certificate)?;
        fs::write(folder.join("middlebox.pem"), own.certificate)?;
        fs::write(folder.join("middlebox.key"), own.key)?;
        let middlebox = start(&firewall, &folder)?;
        let mut stage = Self { outside, firewall, inside, middlebox, folder, ca };
        stage.wait()?;
        stage.nft(
            "table inet filter { chain forward { type filter hook forward priority filter; policy drop;
             ct state untracked meta mark & 0x01000000 == 0x01000000 accept
             ct state established,related accept; iifname inside0 accept; }; }",
        )?;
        Ok(stage)
    }

    /// The middlebox dies and is started again; returns when it answers.
    pub(crate) fn restart(mut self) -> io::Result<Self> {
        self.middlebox.kill()?;
        self.middlebox.wait()?;
        let _ = fs::remove_file(self.socket());
        self.middlebox = start(&self.firewall, &self.folder)?;
        self.wait()?;
        Ok(self)
    }

    fn wait(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            if Instant::now() > deadline || self.middlebox.try_wait()?.is_some() {
                return Err(io::Error::other("the middlebox does not come up"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("simco.sock")
    }

    pub(crate) fn nft(&self, rules: &str) -> io::Result<()> {
        let status = self.firewall.spawn(Command::new("nft").arg(rules).stdin(Stdio::null()))?.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("nft: {status}"))) }
    }

    /// Commits so far, and operations in them.
    pub(crate) fn batches(&self) -> io::Result<(u64, u64)> {
        let file = self.folder.join("postern.toml");
        let mut command = Command::new(postern()?);
        command.args(["status", "-j", "--config"]).arg(file).stdout(Stdio::piped());
        let output = self.firewall.spawn(&mut command)?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = |key: &str| {
            let (_, rest) = text.split_once(&format!("\"{key}\":"))?;
            rest.trim_start().split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        };
        let both = number("commits").zip(number("operations"));
        both.ok_or_else(|| io::Error::other(format!("no counts in {text}")))
    }

    /// Seconds of a processor that the middlebox half has had, for itself and in the kernel.
    pub(crate) fn cpu_s(&self) -> io::Result<(f64, f64)> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.middlebox.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        // In hundredths of a second, fields 14 and 15 of proc(5).
        let mut ticks = fields.skip(11).map(|field| field.parse::<f64>().unwrap_or(0.0) / 100.0);
        Ok((ticks.next().unwrap_or(0.0), ticks.next().unwrap_or(0.0)))
    }

    /// Resident memory of the middlebox half, and what the kernel holds for itself on the whole machine, in kB.
    pub(crate) fn memory_kb(&self) -> io::Result<(u64, u64)> {
        let field = |file: String, names: &[&str]| {
            let text = fs::read_to_string(file)?;
            let of = |line: &str| {
                let (name, rest) = line.split_once(':')?;
                names.contains(&name).then(|| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())?
            };
            Ok::<_, io::Error>(text.lines().filter_map(of).sum())
        };
        let process = field(format!("/proc/{}/status", self.middlebox.id()), &["VmRSS"])?;
        let kernel = field("/proc/meminfo".into(), &["SUnreclaim", "Percpu", "VmallocUsed"])?;
        Ok((process, kernel))
    }
}

/// The binary beside this one.
fn postern() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("postern");
    if path.exists() {
        Ok(path)
    } else {
        Err(io::Error::other("build it first: cargo build --release -p postern"))
    }
}

fn start(firewall: &Host, folder: &Path) -> io::Result<Child> {
    let mut command = Command::new(postern()?);
    command.args(["middlebox", "--config"]).arg(folder.join("postern.toml")).stdin(Stdio::null());
    firewall.spawn(&mut command)
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.middlebox.kill();
        let _ = self.middlebox.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
