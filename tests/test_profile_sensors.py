"""Sensors of a Jetson, from files and lines in the documented formats."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from adcopilot_edge.runtime.profile.reading import Reading
from adcopilot_edge.runtime.profile.sampler import Sample, Sampler
from adcopilot_edge.runtime.profile.sensors import Sensors
from adcopilot_edge.runtime.profile.tegrastats import Tegrastats, parse_line, parse_mode, power_mode
from adcopilot_edge.runtime.profile.thermal import sum_up

ORIN = (
    "11-25-2026 10:15:42 RAM 6311/62841MB (lfb 12x4MB) SWAP 0/31420MB (cached 0MB) "
    "CPU [12%@2201,off,3%@729,0%@729] EMC_FREQ 4%@3199 GR3D_FREQ 97%@[1300,1296] NVDEC off "
    "VIC 0%@729 APE 174 cpu@54.75C CV0@-256C tboard@41.5C gpu@52.031C tj@54.75C "
    "VDD_GPU_SOC 11936mW/9948mW VDD_CPU_CV 2387mW/2188mW VIN_SYS_5V0 5039mW/4837mW"
)
NANO = (
    "RAM 1903/3964MB (lfb 2x4MB) SWAP 0/1982MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [25%@1479,18%@1479,off,off] EMC_FREQ 7%@1600 GR3D_FREQ 12%@921 PLL@38C CPU@41.5C "
    "PMIC@50C GPU@38C POM_5V_IN 4012/3871 POM_5V_GPU 612/540 POM_5V_CPU 980/911"
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """The files of an Orin as far as they are read."""
    thermal, monitors = "sys/class/thermal", "sys/class/hwmon"
    return write(
        tmp_path,
        {
            f"{thermal}/thermal_zone0/type": "cpu-thermal\n",
            f"{thermal}/thermal_zone0/temp": "54750\n",
            f"{thermal}/thermal_zone1/type": "gpu-thermal\n",
            f"{thermal}/thermal_zone1/temp": "52031\n",
            f"{thermal}/thermal_zone2/type": "cv0-thermal\n",
            f"{thermal}/thermal_zone2/temp": "-256000\n",
            f"{thermal}/thermal_zone3/type": "soc0-thermal\n",  # no temp: can't be read
            f"{thermal}/cooling_device0/type": "pwm-fan\n",
            f"{thermal}/cooling_device0/cur_state": "3\n",
            f"{thermal}/cooling_device1/type": "cpu-throttle-alert\n",
            f"{thermal}/cooling_device1/cur_state": "0\n",
            f"{monitors}/hwmon1/name": "ina3221\n",
            f"{monitors}/hwmon1/in1_label": "VDD_IN\n",
            f"{monitors}/hwmon1/in1_input": "5072\n",
            f"{monitors}/hwmon1/curr1_input": "2000\n",
            f"{monitors}/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
            f"{monitors}/hwmon1/in2_input": "5056\n",
            f"{monitors}/hwmon1/curr2_input": "500\n",
            f"{monitors}/hwmon1/in7_label": "sum of shunt voltages\n",
            f"{monitors}/hwmon1/in7_input": "12\n",
            f"{monitors}/hwmon2/name": "pwmfan\n",
            f"{monitors}/hwmon3/name": "soctherm_oc\n",
            f"{monitors}/hwmon3/oc1_event_cnt": "0\n",
            f"{monitors}/hwmon3/oc3_event_cnt": "37\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "2201600\n",
            "sys/class/devfreq/17000000.gpu/cur_freq": "1300500000\n",
            "sys/class/devfreq/15480000.nvdec/cur_freq": "99000000\n",
            "sys/devices/platform/17000000.gpu/load": "970\n",
        },
    )


def test_the_files_of_an_orin(orin: Path) -> None:
    assert Sensors(orin).read() == Reading(
        temperatures_c={"cpu-thermal": 54.75, "gpu-thermal": 52.031},
        power_mw={"VDD_IN": 10144.0, "VDD_CPU_GPU_CV": 2528.0},
        clocks_mhz={"cpu": 2201.6, "gpu": 1300.5},
        load_percent={"gpu": 97.0},
        throttle_events={"oc1": 0, "oc3": 37},
        throttling=(),
    )


def test_a_brake_that_is_on(orin: Path) -> None:
    sensors = Sensors(orin)
    brake = orin / "sys/class/thermal/cooling_device1/cur_state"
    brake.write_text("1\n", encoding="ascii")
    assert sensors.read().throttling == ("cpu-throttle-alert",)


def test_a_sensor_that_vanishes_or_talks_nonsense(orin: Path) -> None:
    sensors = Sensors(orin)
    (orin / "sys/class/thermal/thermal_zone0/temp").unlink()
    (orin / "sys/class/thermal/thermal_zone1/temp").write_text("hot\n", encoding="ascii")
    (orin / "sys/class/hwmon/hwmon1/curr1_input").write_text("", encoding="ascii")
    reading = sensors.read()
    assert reading.temperatures_c == {}
    assert reading.power_mw == {"VDD_CPU_GPU_CV": 2528.0}


def test_a_machine_without_sensors(tmp_path: Path) -> None:
    assert Sensors(tmp_path).read() == Reading()


def test_a_line_of_an_orin() -> None:
    reading = parse_line(ORIN)
    assert reading.temperatures_c == {"cpu": 54.75, "tboard": 41.5, "gpu": 52.031, "tj": 54.75}
    assert reading.power_mw == {"VDD_GPU_SOC": 11936, "VDD_CPU_CV": 2387, "VIN_SYS_5V0": 5039}
    assert reading.clocks_mhz == {"memory": 3199, "gpu": 1300, "cpu": 2201}
    assert reading.load_percent == {"memory": 4, "gpu": 97}


def test_a_line_without_units() -> None:
    reading = parse_line(NANO)
    assert reading.power_mw == {"POM_5V_IN": 4012, "POM_5V_GPU": 612, "POM_5V_CPU": 980}
    assert reading.temperatures_c == {"PLL": 38, "CPU": 41.5, "PMIC": 50, "GPU": 38}
    assert reading.clocks_mhz == {"memory": 1600, "gpu": 921, "cpu": 1479}


def test_the_rails_of_a_xavier_are_called_like_other_things() -> None:
    line = "RAM 1/2MB CPU [1%@1190] GPU 310mW/310mW CPU 932mW/621mW SOC 1864mW/1812mW"
    assert parse_line(line).power_mw == {"GPU": 310, "CPU": 932, "SOC": 1864}


@pytest.mark.parametrize("line", ["", "nothing known", "GR3D_FREQ off", "CPU [off,off]"])
def test_a_line_of_nothing(line: str) -> None:
    assert parse_line(line) == Reading()


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("NV Power Mode: MODE_30W\n2\n", "MODE_30W"),
        ("NV Fan Mode:quiet\nNV Power Mode: MAXN\n0\n", "MAXN"),
        ("NVPM ERROR: no config", None),
        ("", None),
    ],
)
def test_power_mode(text: str, mode: str | None) -> None:
    assert parse_mode(text) == mode


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_the_programs_of_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "tegrastats", f"echo '{NANO}'; echo '{ORIN}'; exec sleep 60")
    program(tmp_path, "nvpmodel", "echo 'NV Power Mode: MODE_15W'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert power_mode() == "MODE_15W"
    tegrastats = Tegrastats(1.0)
    for _ in range(500):
        if tegrastats.latest == parse_line(ORIN):
            break
        time.sleep(0.01)
    tegrastats.close()
    assert tegrastats.latest == parse_line(ORIN)


def test_no_jetson(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert power_mode() is None
    tegrastats = Tegrastats(1.0)
    tegrastats.close()
    assert tegrastats.latest == Reading()


def test_files_go_before_the_program(orin: Path) -> None:
    both = Sensors(orin).read().or_else(parse_line(ORIN))
    assert "tboard" not in both.temperatures_c
    assert "VDD_GPU_SOC" not in both.power_mw
    assert both.clocks_mhz == {"cpu": 2201.6, "gpu": 1300.5, "memory": 3199}


def test_a_sampler_looks_at_least_twice(orin: Path) -> None:
    with Sampler(root=orin, interval_s=60) as sampler:
        pass
    assert len(sampler.samples) >= 2
    times_s, degrees = sampler.temperatures()
    assert len(times_s) == len(sampler.samples)
    assert {*degrees} == {54.75}  # the hottest place


def sample(time_s: float, **kinds: object) -> Sample:
    reading = Reading(**kinds)  # type: ignore[arg-type]
    return Sample(time_s=time_s, reading=reading, free_bytes=None, device_bytes=None)


def test_samples_together() -> None:
    thermal = sum_up(
        [
            sample(0, power_mw={"VDD_IN": 4000.0, "VDD_SOC": 1.0}, throttle_events={"oc3": 5}),
            sample(2, power_mw={"VDD_IN": 8000.0}, throttle_events={"oc3": 9}, throttling=("x",)),
            sample(3, power_mw={"VDD_IN": 6000.0}, temperatures_c={"tj": 70.0}),
        ],
        is_steady=False,
        power_mode="MAXN",
    )
    assert thermal.energy_j == pytest.approx(2 * 6 + 1 * 7)
    assert thermal.energy_rails == ("VDD_IN",)  # the others are parts of it
    assert thermal.throttled == ("oc3: 4 events", "x: on in 1 of 3 samples")
    assert thermal.power_mw["VDD_IN"].to_json() == {
        "first": 4000.0,
        "last": 6000.0,
        "mean": 6000.0,
        "lowest": 4000.0,
        "highest": 8000.0,
    }
    assert thermal.temperatures_c["tj"].mean == 70


def test_all_rails_where_none_is_the_input() -> None:
    rails = {"VDD_GPU_SOC": 3000.0, "VDD_CPU_CV": 1000.0}
    thermal = sum_up(
        [sample(0, power_mw=rails), sample(10, power_mw=rails)], is_steady=None, power_mode=None
    )
    assert thermal.energy_j == pytest.approx(40)
