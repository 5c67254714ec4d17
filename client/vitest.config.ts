import { defineConfig } from 'vitest/config'

// Clocks are the tests' own. This one only ends a test that hangs, on a machine that may be busy.
export default defineConfig({ test: { testTimeout: 30_000 } })
