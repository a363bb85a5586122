# SPDX-License-Identifier: Apache-2.0
"""What the benches share: clock cycles, streams, the checker, numbers, configurations, the runner."""
