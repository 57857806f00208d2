import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { resolvePath, type VolumePath } from '../../../lua-stdlib/fs/path.ts'
import { Sandbox } from '../../../lua-stdlib/fs/sandbox.ts'
import { Volume } from '../../../lua-stdlib/fs/volume.ts'

const path = (written: string): VolumePath => {
  const resolved = resolvePath(written, [], { isWindows: false })
  if (!resolved.ok) throw new Error(resolved.why)
  return resolved.path
}

const once = (text: string): (() => Promise<string | undefined>) => {
  const pieces = [text]
  return async () => pieces.shift()
}

// Links, pipes and bytes in names are those of Unix.
describe.skipIf(process.platform === 'win32').each([{ usesProc: true }, { usesProc: false }])(
  'a volume, %j',
  (options) => {
    let place: string
    let root: string
    let outside: string
    let volume: Volume

    beforeEach(async () => {
      place = realpathSync(mkdtempSync(join(tmpdir(), 'moonmesh-fs-')))
      root = join(place, 'root')
      outside = join(place, 'outside')
      for (const dir of [root, outside, join(root, 'dir')]) mkdirSync(dir)
      writeFileSync(join(outside, 'secret'), 'secret')
      writeFileSync(join(root, 'dir/file'), 'inside')
      volume = new Volume(await Sandbox.open(root, options), 0o755)
    })
    afterEach(() => rmSync(place, { recursive: true, force: true }))

    const read = (written: string): Promise<string> => volume.read(path(written))
    const write = (written: string, mode: 'w' | 'wx' | 'a' = 'w'): Promise<void> =>
      volume.write(path(written), mode, once('new'))

    test('follows links that stay within', async () => {
      symlinkSync('dir', join(root, 'relative'))
      symlinkSync(join(root, 'dir/file'), join(root, 'absolute'))
      symlinkSync('../dir/../absolute', join(root, 'dir/chain'))
      symlinkSync('..', join(root, 'dir/up'))
      symlinkSync('.', join(root, 'self'))
      symlinkSync(`${root}/`, join(root, 'top'))
      for (const written of [
        'relative/file',
        'absolute',
        'dir/chain',
        'dir/up/absolute',
        'self/self/dir/file',
        'top/dir/file',
      ]) {
        expect(await read(written), written).toBe('inside')
      }
      expect((await volume.stat(path('dir/up'))).type).toBe('directory')
      expect((await volume.list(path('relative'))).map(({ name }) => name)).toEqual(['chain', 'file', 'up'])
      expect((await volume.list(path('top'))).length).toBe(5)
      await write('absolute')
      expect(readFileSync(join(root, 'dir/file'), 'utf8')).toBe('new')
    })

    test('makes a file through a link to where there is none yet, within', async () => {
      symlinkSync('dir/later', join(root, 'link'))
      expect(await volume.exists(path('link'))).toBe(false)
      await write('link')
      expect(readFileSync(join(root, 'dir/later'), 'utf8')).toBe('new')
    })

    describe.each([
      ['a relative link to a file', '../outside/secret', ''],
      ['an absolute link to a file', 'OUTSIDE/secret', ''],
      ['a link to a directory', '../outside', '/secret'],
      ['an absolute link to a directory', 'OUTSIDE', '/secret'],
      ['a link above the root', '..', '/outside/secret'],
      ['a link to the top of the file system', '/', 'OUTSIDE/secret'],
      ['a link that goes in and out', 'dir/../../outside/secret', ''],
      ['a link to nothing, outside', '../outside/nothing', ''],
    ])('%s', (_what, target, rest) => {
      beforeEach(() => symlinkSync(target.replace('OUTSIDE', outside), join(root, 'link')))
      const written = (): string => `link${rest.replace('OUTSIDE', outside)}`

      test('is refused', async () => {
        const refused = { kind: 'Invalid', message: expect.stringContaining('path traversal not allowed') }
        await expect(read(written())).rejects.toMatchObject(refused)
        for (const mode of ['w', 'a'] as const) await expect(write(written(), mode)).rejects.toMatchObject(refused)
        await expect(write(written(), 'wx')).rejects.toThrow(/already exists|path traversal/)
        await expect(volume.stat(path(written()))).rejects.toMatchObject(refused)
        await expect(volume.list(path(written()))).rejects.toMatchObject(refused)
        await expect(volume.assertDirectory(path(written()))).rejects.toMatchObject(refused)
        expect(await volume.exists(path(written()))).toBe(false)
        await expect(volume.makeDirectory(path(written()))).rejects.toThrow(/already exists|path traversal/)
        if (rest !== '') await expect(volume.remove(path(written()))).rejects.toMatchObject(refused)
        expect(readdirSync(outside)).toEqual(['secret'])
        expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret')
      })

      test('can be removed, and what it leads to stays', async () => {
        await volume.remove(path('link'))
        expect(readdirSync(root)).toEqual(['dir'])
        expect(existsSync(join(outside, 'secret'))).toBe(true)
      })
    })

    test('tells links that lead in circles', async () => {
      symlinkSync('b', join(root, 'a'))
      symlinkSync('a', join(root, 'b'))
      await expect(read('a')).rejects.toMatchObject({ kind: 'Invalid', message: 'too many links: /a' })
      await expect(read('a/x')).rejects.toMatchObject({ kind: 'Invalid', message: 'too many links: /a/x' })
    })

    test('has no directory of a similar name', async () => {
      mkdirSync(`${root}-other`)
      writeFileSync(`${root}-other/file`, 'secret')
      symlinkSync('../root-other/file', join(root, 'link'))
      await expect(read('link')).rejects.toThrow('path traversal not allowed')
    })

    test('does not wait for the other end of a pipe', async () => {
      execFileSync('mkfifo', [join(root, 'pipe')])
      await expect(read('pipe')).rejects.toMatchObject({ kind: 'Invalid', message: 'not a regular file: /pipe' })
      await expect(write('pipe')).rejects.toMatchObject({ kind: 'Invalid', message: 'not a regular file: /pipe' })
    })

    test('tells paths within the volume, not where it lies', async () => {
      const error = await read('dir/missing').catch((thrown) => thrown)
      expect(error.message).toBe('no such file or directory: /dir/missing')
    })

    test('opened by a link stays where the link led', async () => {
      symlinkSync('root', join(place, 'current'))
      const linked = new Volume(await Sandbox.open(join(place, 'current'), options), 0o755)
      expect(await linked.read(path('dir/file'))).toBe('inside')
      unlinkSync(join(place, 'current'))
      symlinkSync('outside', join(place, 'current'))
      await expect(linked.read(path('secret'))).rejects.toMatchObject({ kind: 'NotFound' })
    })

    test('leaves nothing open', async () => {
      const open = (): number => readdirSync('/proc/self/fd').length
      if (!existsSync('/proc/self/fd')) return
      symlinkSync('dir/file', join(root, 'link'))
      symlinkSync(outside, join(root, 'out'))
      const before = open()
      for (const written of ['link', 'dir/file', 'dir', '/', 'missing', 'out/secret', 'out']) {
        await Promise.allSettled([
          read(written),
          write(written, 'wx'),
          volume.stat(path(written)),
          volume.list(path(written)),
          volume.makeDirectory(path(written)),
        ])
      }
      expect(open()).toBe(before)
    })
  },
)

describe.skipIf(process.platform !== 'linux')('while somebody swaps a directory for a link that leads out', () => {
  test('nothing outside is read, written, listed or removed', async () => {
    const place = realpathSync(mkdtempSync(join(tmpdir(), 'moonmesh-fs-')))
    const [root, outside] = [join(place, 'root'), join(place, 'outside')]
    for (const dir of [root, outside, join(root, 'd'), join(outside, 'sub')]) mkdirSync(dir)
    writeFileSync(join(outside, 'f'), 'secret')
    writeFileSync(join(root, 'd/f'), 'inside')
    symlinkSync(outside, join(root, 'link'))
    const volume = new Volume(await Sandbox.open(root), 0o755)
    let isOver = false
    let swapCount = 0
    const swapping = (async () => {
      while (!isOver) {
        renameSync(join(root, 'd'), join(root, 'aside'))
        renameSync(join(root, 'link'), join(root, 'd'))
        await nextTurn()
        renameSync(join(root, 'd'), join(root, 'link'))
        renameSync(join(root, 'aside'), join(root, 'd'))
        if (++swapCount % 3 === 0) await nextTurn()
      }
    })()
    const outcomes = { read: 0, wrote: 0, refused: 0 }
    try {
      for (let i = 0; i < 400; i++) {
        const text = await volume.read(path('d/f')).catch(() => undefined)
        expect(text ?? 'inside').toBe('inside')
        outcomes[text === undefined ? 'refused' : 'read']++
        const wrote = await volume.write(path(`d/n${i % 5}`), 'w', once('x')).then(
          () => true,
          () => false,
        )
        if (wrote) outcomes.wrote++
        const names = await volume.list(path('d')).catch(() => [])
        expect(names.map(({ name }) => name)).not.toContain('sub')
        await volume.makeDirectory(path('d/made')).catch(() => {})
        await volume.remove(path('d/sub')).catch(() => {})
      }
    } finally {
      isOver = true
      await swapping
    }
    expect(readdirSync(outside).sort()).toEqual(['f', 'sub'])
    expect(readFileSync(join(outside, 'f'), 'utf8')).toBe('secret')
    for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(0)
    expect(swapCount).toBeGreaterThan(100)
    rmSync(place, { recursive: true, force: true })
  })
})
