//! Aylin, who works on a device of her own: `subscriber.mjs` does what her application does, and this tells it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::say::{Ink, ink, line};
use crate::{PASSWORD, ROOT, URL};

/// Runs her application. What keeps it from its end is told; the demo goes on.
pub(crate) fn run(authority: &Path) {
    let name = ink(Ink::Bold, "aylin");
    line(&format!(
        "\n  {name} gets a database of her own, kept in step with `provisioning` (examples/demo/subscriber.mjs):\n"
    ));
    let mut command = Command::new("node");
    command
        .args(["examples/demo/subscriber.mjs", URL, "aylin", PASSWORD])
        .current_dir(ROOT)
        .env("NODE_EXTRA_CA_CERTS", authority)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Err(problem) = tell(&mut command) {
        line(&format!("  It did not come to its end: {problem}"));
    }
}

fn tell(command: &mut Command) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut child = command.spawn().map_err(failed)?;
    let said = child.stdout.take().ok_or("it has no output")?;
    for said in BufReader::new(said).lines() {
        let said = said.map_err(failed)?;
        let (done, came) = said.split_once('\t').unwrap_or((&said, ""));
        let tick = ink(Ink::Green, "✓");
        line(&format!("  {tick} {done:<27} {came}"));
    }
    let output = child.wait_with_output().map_err(failed)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
