# SPDX-License-Identifier: Apache-2.0
"""The SAR ADCs as circuits: levels drawn from circuit values, IEEE 1241 metrics, and calibration in integers.

`cdac` draws levels; `stimulus`, `metrics` and `dynamic` test ADCs; `calibrate` fits what the macro's registers hold.
"""
