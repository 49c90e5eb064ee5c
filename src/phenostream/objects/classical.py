"""Classical nuclei segmentation: arrays in, labels out."""
# ruff: noqa
# mypy: ignore-errors
import numpy as np
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed
from skimage.feature import peak_local_max

def background(x,d):
    h,w=x.shape; b=max(int(2*d),16)
    ny,nx=max(1,round(h/b)),max(1,round(w/b))
    ye=np.linspace(0,h,ny+1).astype(int); xe=np.linspace(0,w,nx+1).astype(int)
    q=np.array([[np.percentile(x[ye[i]:ye[i+1],xe[j]:xe[j+1]],25) for j in range(nx)] for i in range(ny)],np.float32)
    q=ndi.minimum_filter(q,3,mode='nearest'); q=ndi.uniform_filter(q,3,mode='nearest')
    yc=(ye[:-1]+ye[1:]-1)/2; xc=(xe[:-1]+xe[1:]-1)/2
    A=np.interp(np.arange(h),yc,np.arange(ny)); B=np.interp(np.arange(w),xc,np.arange(nx))
    q=q[:, :]
    rows=np.stack([np.interp(np.arange(w),xc,q[i]) for i in range(ny)])
    i0=np.floor(A).astype(int).clip(0,max(ny-2,0)); f=(A-i0)[:,None]
    i1=np.minimum(i0+1,ny-1)
    return (rows[i0]*(1-f)+rows[i1]*f).astype(np.float32)

def diameter(f,tr=None):
    # EDT maxima of the log-otsu mask, area weighted
    t=threshold_otsu(f) 
    m=f>t
    e=ndi.distance_transform_edt(ndi.binary_fill_holes(m))
    pk=(e==ndi.maximum_filter(e,7))&(e>1.5)
    r=np.sort(e[pk]); 
    if len(r)==0: return 15.
    w=np.cumsum(r**2); return 2.2*r[np.searchsorted(w,w[-1]/2)]

def label_nuclei(x, given=None, P={}):
    p=dict(s=1.0,gam=.5,alpha=.45,sm=.12,h=.1,mix=.5,minarea=.08,lowf=1.0,top=75); p.update(P)
    x=x.astype(np.float32)
    if x.max()==x.min(): return np.zeros(x.shape,np.int32)
    g=ndi.gaussian_filter(x,p['s'])
    f=g-g.min(); d=given or diameter(f)
    f=np.maximum(g-background(g,d),0)
    sc=np.percentile(f,99.8)
    f=f/sc
    v=f.clip(0,1)**p['gam']
    t=threshold_otsu(v)*p['lowf']
    m=v>t
    # background-noise
    m=ndi.binary_fill_holes(m)
    e=ndi.distance_transform_edt(m)
    ss=p['sm']*d
    fs=ndi.gaussian_filter(f,ss)
    es=ndi.gaussian_filter(e,ss)
    # normalise: combined map
    loc=ndi.maximum_filter(fs,int(d)|1)
    comb=es/(d/2)*(1-p['mix'])+p['mix']*(fs/np.maximum(loc,1e-6))
    pk=peak_local_max(comb,min_distance=max(int(d*.3),2),labels=ndi.label(m)[0],exclude_border=False)
    mk=np.zeros(x.shape,np.int32); mk[tuple(pk.T)]=np.arange(1,len(pk)+1)
    L=watershed(-comb,mk,mask=m)
    return refine(L,f,d,p)
def refine(L,f,d,p):
    idx=np.flatnonzero(L); lab=L.ravel()[idx]; val=f.ravel()[idx]
    n=L.max()
    o=np.lexsort((val,lab)); lab_s,val_s=lab[o],val[o]
    st=np.searchsorted(lab_s,np.arange(1,n+1)); en=np.searchsorted(lab_s,np.arange(1,n+1),side='right')
    q=st+((en-st-1)*p['top']/100).astype(int)
    top=np.r_[0,val_s[q]]
    keep=val>=p['alpha']*top[lab]
    M=np.zeros(L.size,np.int32); M[idx[keep]]=lab[keep]; M=M.reshape(L.shape)
    # largest comp
    from skimage.measure import label as lb
    C=lb(M,connectivity=1); s=np.bincount(C.ravel()); s[0]=0
    first=np.zeros(len(s),int); first[C.ravel()]=M.ravel()
    best=np.zeros(n+1,int); o=np.argsort(s); best[first[o]]=o
    keepc=np.zeros(len(s),bool); keepc[best]=True; keepc[s<p['minarea']*np.pi/4*d*d]=False; keepc[s<12]=False; keepc[0]=False
    R=np.where(keepc[C],M,0)
    # fill holes per object
    hol,_=ndi.label(R==0); 
    R=fill(R)
    u,inv=np.unique(R,return_inverse=True)
    return inv.reshape(R.shape).astype(np.int32)
def fill(R):
    h=ndi.binary_fill_holes(R>0)&(R==0)
    if not h.any(): return R
    g,i=ndi.distance_transform_edt(R==0,return_indices=True)
    R=R.copy(); R[h]=R[tuple(i)][h]; return R
