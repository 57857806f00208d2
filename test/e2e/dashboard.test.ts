// The dashboard of a real node: what is served, to whom, and, where there is a browser, that it shows what is so and stays current. operations.md §1, §3.

import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BROWSER, Browser } from '../tools/browser.ts'
import { addressesOf, Cli, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

const MARKUP = '<img src=x onerror=document.title="hurt">'
const APP = `version: "1.0"
namespace: shop
node: { name: n1 }
admin: { http: "127.0.0.1:0" }
cluster: { enabled: true, membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 50ms } }
entries:
  - { name: processes, kind: process.host, lifecycle: { auto_start: true } }
  - { name: clerk, kind: process.lua, source: "file://clerk.lua" }
  - { name: clerk.service, kind: process.service, process: clerk, host: processes, lifecycle: { auto_start: true } }
`
const CLERK = `return function()
    assert(process.registry.register('${MARKUP}'))
    process.events():receive()
end
`

let cli: Cli
let node: Program
let admin = ''

beforeAll(async () => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'clerk.lua': CLERK })
  node = cli.start(['run', 'app.yaml', '--log-format', 'json'], { withAdmin: true })
  await node.until('"event":"ready"')
  admin = addressesOf(node).admin ?? ''
})

afterAll(() => cli.close())

interface Page {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly text: string
}

function get(path: string, { headers = {}, socket = false } = {}): Promise<Page> {
  const [host, port] = admin.split(':')
  const place = socket ? { socketPath: join(cli.dir, '.runtime/n1/admin.sock') } : { host, port }
  return new Promise((done, fail) => {
    const sent = request({ ...place, path, headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      response.on('end', () => done({ status: response.statusCode ?? 0, headers: response.headers, text }))
    })
    sent.on('error', fail)
    sent.end()
  })
}

test('three files with their types, which may load nothing from elsewhere and stand in no frame', async () => {
  for (const [path, type] of [
    ['/', 'text/html; charset=utf-8'],
    ['/dashboard.css', 'text/css; charset=utf-8'],
    ['/dashboard.js', 'text/javascript; charset=utf-8'],
  ] as const) {
    const { status, headers, text } = await get(path)
    expect({ path, status, type: headers['content-type'] }).toEqual({ path, status: 200, type })
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
    const policy = String(headers['content-security-policy']).split('; ')
    expect(policy).toEqual(
      expect.arrayContaining(["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]),
    )
    expect(policy.join()).not.toContain('unsafe')
    expect(text).not.toMatch(/https?:\/\//)
    expect((await get(path, { socket: true })).text).toBe(text)
  }
  const { text } = await get('/')
  expect(text).not.toMatch(/ on[a-z]+=| style=|<style|<script>/)
  expect((await get('/dashboard.js')).text).not.toMatch(/innerHTML|outerHTML|insertAdjacent|document\.write|eval\(/)
})

test('no other host and no other site is served', async () => {
  for (const headers of [
    { host: 'evil.example' },
    { 'sec-fetch-site': 'cross-site' },
    { origin: 'http://evil.example' },
  ])
    for (const path of ['/', '/dashboard.js']) expect((await get(path, { headers })).status).toBe(403)
  for (const path of ['/index.html', '/dashboard/', '/..%2fserver.js', '/dashboard.js/..%2f..%2fserver.js'])
    expect((await get(path)).status).toBe(404)
})

test.skipIf(BROWSER === undefined)(
  `in a browser: members, services, processes, events; again after the node was away${BROWSER === undefined ? ' (skipped: no Chromium is installed)' : ''}`,
  { timeout: 180_000 },
  async () => {
    const browser = new Browser()
    const patience = { timeoutMs: 60_000 }
    try {
      const page = await browser.open(`http://${admin}/`)
      const shows = (id: string, ...texts: string[]): Promise<void> =>
        eventually(async () => {
          const text = String(await page(`document.getElementById('${id}').innerText`))
          for (const each of texts) expect(text).toContain(each)
        }, patience)
      await shows('node', 'n1')
      await shows('members', 'n1 (this node)', 'alive')
      await shows('services', 'shop:clerk.service', 'running')
      // A name that would be markup is text.
      await shows('processes', 'shop:clerk', MARKUP)
      await shows('counts', 'names, local')
      await shows('checks', 'gossip')

      const joining = ['node.name=n2', `cluster.membership.join_addrs=${addressesOf(node).gossip}`, 'admin.http=off']
      const other = cli.start(['run', 'app.yaml', ...joining.flatMap((each) => ['--set', each])], { withAdmin: true })
      await other.until('is ready')
      await shows('members', 'n2')
      await shows('events', 'node.joined')
      await other.kill()

      const { gossip } = addressesOf(node)
      await node.kill()
      await shows('connection', 'trying again')
      const same = [`admin.http=${admin}`, `cluster.membership.bind_port=${gossip?.split(':').at(-1)}`]
      node = cli.start(['run', 'app.yaml', '--log-format', 'json', ...same.flatMap((each) => ['--set', each])], {
        withAdmin: true,
      })
      await node.until('"event":"ready"')
      await shows('connection', 'as of')
      await cli.run(['attach', '-e', 'process.registry.register("passing")'])
      await shows('events', 'process.ended')
      expect(await page('document.title')).toBe('n1 · moonmesh')
      expect(await page('document.images.length')).toBe(0)
    } finally {
      await browser.close()
    }
  },
)
