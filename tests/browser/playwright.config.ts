// Real browser, real binary, real app. `npx playwright test tabs` runs one file, `--headed` shows it, `--trace on` records it.
import { defineConfig } from '@playwright/test'
import { chromium } from './harness/prepare.ts'

export default defineConfig({
  testDir: 'tests',
  outputDir: 'results',
  globalSetup: './harness/prepare.ts',
  workers: 2,
  fullyParallel: true,
  forbidOnly: Boolean(process.env.CI),
  retries: 0, // A test that fails once in five is a fault that a user sees once in five.
  timeout: 60_000,
  expect: { timeout: 15_000 }, // The machine may be busy; conditions end earlier.
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    ignoreHTTPSErrors: true, // The certificate is made on the spot.
    actionTimeout: 15_000,
    screenshot: 'only-on-failure',
    // Names below .test are this machine: apps of several hosts, and other sites.
    launchOptions: { executablePath: chromium, args: ['--host-resolver-rules=MAP *.test 127.0.0.1'] },
  },
})
