import test from 'node:test'; import assert from 'node:assert/strict';
import * as h from '../../src/pages/assets/healpix.js'; import {describe,parseProperties} from '../../src/pages/assets/survey.js';
import {parseHeader,parseCard,imageOf} from '../../src/pages/assets/fits-header.js'; import * as p from '../../src/pages/assets/fits-pixels.js'; import {lintFiles,lintProperties,wrongMap} from '../../src/pages/assets/lint.js'; import {multipart} from '../../src/pages/assets/ranges.js';
import {Tiles} from '../../src/pages/assets/tiles.js';
test('a direction lies in the cell that says so', () => {
  for (let order=0; order<=7; order++) for (let n=0;n<2000;n++){
    const index=Math.floor(Math.random()*12*4**order), x=0.01+0.98*Math.random(), y=0.01+0.98*Math.random();
    assert.equal(h.cellAt(order,h.cellDirection(order,index,x,y)), index);
  }});
test('galactic pole', () => {
  const [ra,dec]=h.toDegrees(h.icrsFromGalactic([0,0,1])); assert.ok(Math.abs(ra-192.859508)<1e-4 && Math.abs(dec-27.128336)<1e-4,[ra,dec]);
  const v=h.fromDegrees(12,34); const w=h.icrsFromGalactic(h.galacticFromIcrs(v)); for(const i of [0,1,2]) assert.ok(Math.abs(v[i]-w[i])<1e-12);
});
test('properties', () => {
  const s=describe('# c\nhips_order = 5\r\nhips_tile_format = png fits\nhips_frame=equatorial\nobs_title = A = B\n');
  assert.deepEqual([s.order,s.format,s.title,s.orderMin],[5,'png','A = B',0]);
  assert.throws(()=>describe(''),/hips_order/); assert.throws(()=>describe('hips_order=3\nhips_tile_format=fits'),/shows/);
});
test('sexagesimal',()=>{ assert.equal(h.sexagesimal(256.6,-41.8),'17h 06m 24.0s −41° 48′ 00″'); assert.equal(h.sexagesimal(359.99999,0),'00h 00m 00.0s +00° 00′ 00″')});
test('header',()=>{
  const cards=['SIMPLE  =                    T / x','BITPIX  =                  -32','NAXIS   =                    2','NAXIS1  =                   10','NAXIS2  =                    4',"OBJECT  = 'it''s / a' / c",'COMMENT hello','END'];
  const b=new TextEncoder().encode(cards.map(c=>c.padEnd(80)).join('').padEnd(2880));
  const u=parseHeader(b,0); assert.equal(u.dataBytes,160); assert.equal(u.next,5760); assert.equal(u.values.get('OBJECT'),"it's / a");
  const i=imageOf(u); assert.equal(i.rowBytes,40); assert.equal(parseHeader(b.subarray(0,400),0),null); assert.throws(()=>parseHeader(new Uint8Array(80),0));
  assert.deepEqual(p.plan(i,1000).ranges,[[2880,3039]]);
  const big={...i,width:4096,height:4096,rowBytes:16384}; const r=p.plan(big,2**21); assert.ok(r.rows<=128&&r.rows>=96,r.rows);
  assert.equal(p.plan({...big,width:16384,height:16384,rowBytes:65536},2**21),null);
});
test('multipart',()=>{const b=new TextEncoder().encode('\r\n--X\r\nContent-Type: a\r\nContent-Range: bytes 2-4/10\r\n\r\nabc\r\n--X\r\nContent-Range: bytes 6-7/10\r\n\r\nde\r\n--X--\r\n');
 const m=multipart(b); assert.deepEqual(m.map(x=>[x.first,x.last,new TextDecoder().decode(x.bytes)]),[[2,4,'abc'],[6,7,'de']]);});
test('paint',()=>{const img={width:2,height:2,values:Float64Array.from([0,1,NaN,2])}; const px=p.paint(img,[0,2],10); assert.deepEqual([px[3],px[7],px[8],px[12]],[0,255,0,p.stretch(1,[0,2],10)].map((v,i)=>i==2?px[8]:v));});

// The view requested the tiles that had been dropped for its others, for as long as it was open.
test('a view of more tiles than stay in memory requests each of them once', async () => {
  let requests = 0, settled;
  const done = new Promise(resolve => { settled = resolve; });
  globalThis.fetch = async () => {
    if (++requests > 2000) settled();
    return { ok: true, status: 200, headers: new Headers(), blob: async () => ({ size: 1 }) };
  };
  globalThis.createImageBitmap = async () => ({ close() {} });
  let view = Array.from({ length: 400 }, (_, index) => [5, index]);
  const tiles = new Tiles((order, index) => `${order}/${index}`, () => {
    if (requests < 2000) tiles.want(view);
    if (!tiles.running && !tiles.wanted.length) settled();
  });
  tiles.want(view);
  await done;
  assert.equal(requests, 400);
  assert.equal(tiles.counts.loaded, 400);
  const elsewhere = new Promise(resolve => { settled = resolve; });
  view = [[5, 1000]];
  tiles.want(view);
  await elsewhere;
  assert.equal(requests, 401);
  assert.ok(tiles.entries.size <= 300, `${tiles.entries.size} tiles stay`);
  assert.equal(tiles.get(5, 1000).state, 'here');
});
const PROPERTIES = ['creator_did = ivo://x/P/y', 'obs_title = A', 'dataproduct_type = image', 'hips_version = 1.4',
  'hips_release_date = 2025-07-01T12:00Z', 'hips_status = private master clonable', 'hips_tile_format = png fits',
  'hips_order = 5', 'hips_order_min = 3', 'hips_frame = equatorial', ''].join('\n');
const cards = (...all) => new TextEncoder().encode([...all, 'END'].map(card => card.padEnd(80)).join('').padEnd(2880));
const map = (ordering, system) => {
  const parts = [cards('SIMPLE  =                    T', 'BITPIX  =                    8', 'NAXIS   =                    0'),
    cards("XTENSION= 'BINTABLE'", 'BITPIX  =                    8', 'NAXIS   =                    2', 'NAXIS1  =                    8',
      'NAXIS2  =                    1', `ORDERING= '${ordering}'`, `COORDSYS= '${system}'`)];
  return new Uint8Array(parts.flatMap(part => [...part]));
};
test('the lint finds faults of properties, each with its fix', () => {
  assert.deepEqual(lintProperties(PROPERTIES), []);
  for (const [from, to, what] of [
    ['obs_title = A', '', /lacks obs_title/], ['hips_order = 5', 'hips_order = five', /hips_order is five/],
    ['hips_order_min = 3', 'hips_order_min = 6', /above hips_order/], ['png fits', 'png avif', /hips_tile_format has avif/],
    ['= equatorial', '= icrs', /hips_frame is icrs/], ['obs_title = A', 'obs_title = A\n<html>', /line 3 of properties/],
  ]) {
    const found = lintProperties(PROPERTIES.replace(from, to));
    assert.equal(found.length, 1, JSON.stringify(found));
    assert.match(found[0].what, what);
    assert.ok(found[0].fix);
  }
});
test('the lint finds files that are missing or wrong, by few requests', async () => {
  const lint = async (files, text = PROPERTIES) => {
    const asked = [];
    const found = await lintFiles(text, async path => { asked.push(path); return files(path) || { status: 404, bytes: new Uint8Array() }; });
    assert.ok(asked.length <= 18, asked.length);
    return found.map(({ what }) => what);
  };
  const right = path => ({ status: 200, bytes: path === 'Moc.fits' ? map('RANGE', 'C') : new Uint8Array() });
  assert.deepEqual(await lint(right), []);
  assert.match((await lint(path => path !== 'Moc.fits' && right(path)))[0], /no Moc.fits/);
  assert.match((await lint(path => path === 'Moc.fits' ? { status: 403, bytes: new Uint8Array() } : right(path)))[0], /answered with 403/);
  assert.match((await lint(path => !/Allsky.fits/.test(path) && right(path)))[0], /no Norder3\/Allsky.fits/);
  const unsaid = PROPERTIES.replace('hips_order_min = 3\n', '');
  assert.match((await lint(path => !/Norder0/.test(path) && right(path), unsaid))[0], /lacks hips_order_min/);
  assert.deepEqual(await lint(path => /Npix[0-4]\./.test(path) || !/Norder0/.test(path) ? right(path) : undefined, unsaid), []);
  assert.equal(wrongMap(map('NUNIQ', 'C')), undefined);
  for (const [bytes, what] of [[map('RANGE', 'G'), /COORDSYS/], [map('NESTED', 'C'), /ORDERING/],
    [map('RANGE', 'C').subarray(0, 3000), /ends within/], [new TextEncoder().encode('<html>'.padEnd(2880)), /no coverage map/]]) {
    assert.match(wrongMap(bytes), what);
  }
});
