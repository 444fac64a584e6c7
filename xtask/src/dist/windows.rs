// SPDX-License-Identifier: MPL-2.0
//! A zip for GStreamer's installer, and a wheel for GStreamer from pip.

use std::path::PathBuf;

use super::{copy, pack, paper, papers, python_package, ship, stage, version, write};
use crate::run::{self, Outcome};
use crate::windows::Kit;

pub struct Packages {
    pub zip: PathBuf,
    pub wheel: PathBuf,
    /// The plugin's name in the zip.
    pub plugin: &'static str,
    /// The tool's.
    pub tool: &'static str,
}

const PLUGIN: &str = "lib/gstreamer-1.0/gsttdlink.dll";

/// Beside the plugin's folder, where the tool looks for it.
const TOOL: &str = "bin/tdlink.exe";

/// The launchers of GStreamer's wheels tell GStreamer of this package's folder and a few like it, and of no other. It is
/// where all its plugins are.
const BUNDLE: &str = "gstreamer_plugins";

pub fn build(kit: &Kit) -> Outcome<Packages> {
    let version = version()?;
    let library = kit.built("dist/gsttdlink.dll");
    let tool = kit.built("dist/tdlink.exe");
    ship(&mut kit.cargo(Kit::TARGET), &[&library, &tool])?;

    let name = format!("tdlink-{version}-windows-x64");
    let top = stage(&name)?;
    copy(&library, &top.join(PLUGIN))?;
    copy(&tool, &top.join(TOOL))?;
    python_package(&top.join("python"))?;
    papers(&top, &paper("README-windows.md")?.replace("VERSION", &version))?;
    let zip = pack("zip", &top, &format!("{name}.zip"))?;

    let name = format!("tdlink-{version}-py3-none-win_amd64.whl");
    let top = stage(&name)?;
    copy(&library, &top.join(BUNDLE).join(PLUGIN))?;
    python_package(&top)?;
    // pip puts it beside python.exe's other commands.
    copy(&tool, &top.join(format!("tdlink-{version}.data/scripts/tdlink.exe")))?;
    let info = top.join(format!("tdlink-{version}.dist-info"));
    copy(&run::root().join("LICENSE"), &info.join("licenses/LICENSE"))?;
    write(&info.join("METADATA"), &metadata(&version))?;
    write(
        &info.join("WHEEL"),
        "Wheel-Version: 1.0\nGenerator: tdlink\nRoot-Is-Purelib: false\nTag: py3-none-win_amd64\n",
    )?;
    let wheel = pack("wheel", &top, &name)?;
    Ok(Packages { zip, wheel, plugin: PLUGIN, tool: TOOL })
}

fn metadata(version: &str) -> String {
    format!(
        "Metadata-Version: 2.4\n\
         Name: tdlink\n\
         Version: {version}\n\
         Summary: GStreamer elements for TouchDesigner's shared buffers\n\
         License-Expression: MPL-2.0\n\
         License-File: LICENSE\n\
         Requires-Python: >=3.9\n\
         Requires-Dist: gstreamer-plugins>=1.28\n\
         Provides-Extra: python\n\
         Requires-Dist: numpy; extra == \"python\"\n\
         \n\
         A plugin for GStreamer from pip (`pip install gstreamer-bundle`): tdshmsrc, tdshmsink, tdcudaipcsrc and \
         tdcudaipcsink. The package `tdlink` speaks the same control segments from Python, with numpy's arrays where numpy is \
         installed (`pip install tdlink[python]`); `tdlink.gst` has frames on the GPU and needs PyGObject.\n"
    )
}
