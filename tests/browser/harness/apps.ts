// Apps of other people, as they are: each on a port of its own, with its data in a folder of its own.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BOSS, ROOT } from './prepare.ts'
import { answers, freePort, Process } from './process.ts'

const INSTALLED = join(ROOT, 'tests/browser/apps')
const PYTHON = { ...process.env, PYTHONPATH: join(INSTALLED, 'python'), PYTHONWARNINGS: 'ignore' }

export type Name = keyof typeof HOW

/** The host by which browsers know an app. */
export const host = (name: Name) => `${name}.apps.test`

/** `origin` is where browsers reach the app, through Portcullis. */
export async function start(name: Name, origin: string) {
  const folder = mkdtempSync(join(tmpdir(), `portcullis-${name}-`))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const app = await HOW[name](folder, port, origin)
  await app.until(() => answers(url))
  const stop = async () => {
    await app.kill()
    rmSync(folder, { recursive: true, force: true })
  }
  return { url, stop }
}

/** What `startproject` writes, as far as the admin site needs it. */
const DJANGO_SETTINGS = `
import os
SECRET_KEY = "only for tests"
DEBUG = True  # Serves its own style sheets.
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.path.dirname(__file__), "db")}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
STATIC_URL = "/static/"
INSTALLED_APPS = ["django.contrib." + app for app in ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": ["django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth", "django.contrib.messages.context_processors.messages"]},
}]
`

const DJANGO_URLS = `
from django.contrib import admin
from django.urls import path
urlpatterns = [path("admin/", admin.site.urls)]
`

const HOW = {
  /** Wiki and tickets: pages made by the server, forms, files. https://trac.edgewall.org/ */
  trac(folder: string, port: number, origin: string) {
    const place = join(folder, 'notes')
    const admin = (...command: string[]) =>
      execFileSync('python3', ['-m', 'trac.admin.console', place, ...command], { env: PYTHON, stdio: 'pipe' })
    admin('initenv', 'Notes', 'sqlite:db/trac.db')
    admin('permission', 'add', 'anonymous', 'TRAC_ADMIN') // Who comes through the gate may write.
    // It redirects to whole URLs, and does not know that browsers come by https.
    const ini = join(place, 'conf/trac.ini')
    const known = readFileSync(ini, 'utf8').replace(/^(base_url|use_base_url_for_redirect) = .*\n/gm, '')
    writeFileSync(ini, known.replace('[trac]\n', `[trac]\nbase_url = ${origin}\nuse_base_url_for_redirect = true\n`))
    const where = ['--hostname', '127.0.0.1', '--port', String(port), '--single-env', place]
    return new Process(['python3', '-m', 'trac.web.standalone', ...where], { env: PYTHON })
  },

  /** The admin site: pages made by the server, forms, and users and a login of its own. https://www.djangoproject.com/ */
  django(folder: string, port: number) {
    writeFileSync(join(folder, 'site_settings.py'), DJANGO_SETTINGS)
    writeFileSync(join(folder, 'site_urls.py'), DJANGO_URLS)
    const settings = ['--settings=site_settings', '--pythonpath', folder]
    const admin = (...command: string[]) =>
      execFileSync('django-admin', [...command, ...settings], {
        env: { ...process.env, DJANGO_SUPERUSER_PASSWORD: BOSS.password },
        stdio: 'pipe',
      })
    admin('migrate', '--verbosity=0')
    admin('createsuperuser', '--noinput', '--username', BOSS.name, '--email', 'boss@example.com')
    return new Process(['django-admin', 'runserver', '--noreload', `127.0.0.1:${port}`, ...settings])
  },

  /** Flows of messages, edited in the browser: WebSocket. https://nodered.org/ */
  nodered(folder: string, port: number) {
    const settings = join(folder, 'settings.js')
    const quiet = 'editorTheme: { tours: false }, telemetry: { enabled: false }'
    writeFileSync(settings, `module.exports = { uiHost: '127.0.0.1', uiPort: ${port}, userDir: '${folder}', ${quiet} }`)
    return new Process(['node', join(INSTALLED, 'node_modules/node-red/red.js'), '--settings', settings])
  },

  /** Keeps folders the same on several machines, here on none: long polling. https://syncthing.net/ */
  async syncthing(folder: string, port: number) {
    // The last: it is watched already, so that it does not leave a child behind when it is killed.
    const quiet = { ...process.env, HOME: folder, STNOUPGRADE: '1', STMONITORED: 'yes' }
    execFileSync('syncthing', ['generate', '--home', folder, '--no-default-folder', '--skip-port-probing'], { env: quiet, stdio: 'pipe' })
    const file = join(folder, 'config.xml')
    const config = readFileSync(file, 'utf8')
      .replace(/(global|local)(AnnounceEnabled)>true/g, '$1$2>false')
      .replace(/<(relaysEnabled|startBrowser|natEnabled|crashReportingEnabled)>true/g, '<$1>false')
      .replace('<urAccepted>0', '<urAccepted>-1')
      .replace('<listenAddress>default', `<listenAddress>tcp://127.0.0.1:${await freePort()}`)
      .replace(/127\.0\.0\.1:8384/, `127.0.0.1:${port}`)
    writeFileSync(file, config)
    return new Process(['syncthing', 'serve', '--home', folder, '--no-browser', '--no-restart'], { env: quiet })
  },
}
