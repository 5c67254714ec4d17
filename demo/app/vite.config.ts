import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// In development the page comes from Vite, and these paths from a running `make demo`.
const gate = 'http://127.0.0.1:8080'
const paths = ['/login', '/refresh', '/logout', '/userinfo', '/api', '/admin']

export default defineConfig({
  base: '/app/',
  plugins: [react()],
  resolve: {
    // The client package is a link to a folder with its own node_modules. Redux must not be shipped twice for that.
    dedupe: ['@reduxjs/toolkit'],
  },
  build: {
    // Both would put script or data: addresses where the content security policy forbids them.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    target: 'es2022',
  },
  server: {
    // Host stays what the browser sent, since the proxy compares it with Origin.
    proxy: Object.fromEntries(paths.map((path) => [path, { target: gate, changeOrigin: false }])),
  },
})
