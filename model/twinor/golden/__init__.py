# SPDX-License-Identifier: Apache-2.0
"""The golden macro: one pure function per hardware block, integers and numpy alone.

Signal order: `wl_dac` -> `flash_array` -> `bitline` -> `adc_frontend` -> `sar_adc` -> `shift_add` -> `requantize`;
`macro_ctrl` counts cycles and `cim_macro` executes rounds.
"""
